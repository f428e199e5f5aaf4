// The words of the operator's page.

import { sayer } from "../shared/language.js";
import { EN, ES, IT } from "./texts.js";

export const say = sayer({ en: EN, es: ES, it: IT });

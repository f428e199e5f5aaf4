// The words of the operator's page.

import { EN, ES, IT } from "./texts.js";
import { sayer } from "../shared/language.js";

export const say = sayer({ en: EN, es: ES, it: IT });

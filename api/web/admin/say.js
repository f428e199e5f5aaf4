// The words of the operator's page.

import { EN, ES, IT } from "./admin-texts.js";
import { sayer } from "./panels.js";

export const say = sayer({ en: EN, es: ES, it: IT });

// The words of the live view.

import { sayer } from "./panels.js";
import { EN, ES, IT } from "./watch-texts.js";

export const say = sayer({ en: EN, es: ES, it: IT });

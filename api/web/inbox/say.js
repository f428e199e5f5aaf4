// The words of the inbox page.

import { sayer } from "../shared/language.js";
import { EN } from "./texts-en.js";
import { ES } from "./texts-es.js";
import { IT } from "./texts-it.js";

export const say = sayer({ en: EN, es: ES, it: IT });

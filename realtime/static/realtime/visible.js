/** Text in which nothing is hidden: what turns the direction or has no shape is shown by its number. */

const HIDDEN = /[\p{Cf}\p{Co}\p{Cn}\u2028\u2029\u115f\u1160\u3164\uffa0]|(?![\n\t])\p{Cc}/gu;

export const visible = (text) => text.replace(HIDDEN, (one) => `\\u{${one.codePointAt(0).toString(16)}}`);

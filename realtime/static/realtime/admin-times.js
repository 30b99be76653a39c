/** Moments that tick: `<time class="ago">` and `<time class="left">`, worded as the server does. */

const HOUR = 3600;

/** @param {number} seconds */
function short(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  for (const [size, unit] of /** @type {const} */ ([[86400, "d"], [HOUR, "h"], [60, "min"]])) {
    if (whole >= size) return `${Math.floor(whole / size)} ${unit}`;
  }
  return `${whole} s`;
}

/** @param {number} seconds */
function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const rest = String(whole % 60).padStart(2, "0");
  return whole < HOUR ? `${Math.floor(whole / 60)}:${rest}` : short(whole);
}

/** Write every moment anew; whether one of those to come has just come. */
export function tick() {
  let over = false;
  for (const time of document.querySelectorAll("time.ago, time.left")) {
    const seconds = (Date.parse(time.dateTime) - Date.now()) / 1000;
    const text = time.classList.contains("ago") ? short(-seconds) : clock(seconds);
    if (time.classList.contains("left") && seconds <= 0 && !time.dataset.over) {
      time.dataset.over = "yes";
      over = true;
    }
    if (time.textContent !== text) time.textContent = text;
  }
  return over;
}

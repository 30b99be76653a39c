/** Numbers over time as a line, the newest at the right. Drawn once a frame, however many come. */

const SVG = "http://www.w3.org/2000/svg";
const WINDOW_MS = 120_000;
const LEAST_MS = 10_000; // so long the line is wide at least
const MOST = 2000; // points
const [TOP, RIGHT, BOTTOM, LEFT] = [12, 12, 12, 56];
const short = new Intl.NumberFormat([], { maximumSignificantDigits: 4 });
const shortest = new Intl.NumberFormat([], { maximumSignificantDigits: 4, notation: "compact" }); // beside the lines

/** Every number in some data, under its dotted name. */
export function* numbersIn(data, name = "") {
  if (typeof data === "number") yield [name || "value", data];
  else if (data && typeof data === "object" && !Array.isArray(data)) {
    for (const [key, value] of Object.entries(data)) yield* numbersIn(value, name ? `${name}.${key}` : key);
  }
}

export class Chart {
  #svg;
  #points = []; // [ms, value]
  #asked = false;

  constructor(svg) {
    this.#svg = svg;
    new ResizeObserver(() => this.#ask()).observe(svg);
  }

  /** Draw these from now on; they may grow. */
  show(points) {
    this.#points = points;
    this.#ask();
  }

  add(points, at, value) {
    points.push([at, value]);
    while (points.length > MOST || points[0][0] < at - WINDOW_MS) points.shift();
    if (points === this.#points) this.#ask();
  }

  #ask() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      this.#draw();
    });
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.#svg;
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.#svg.replaceChildren();
    if (!this.#points.length || !width) return;
    const [low, high] = range(this.#points.map(([, value]) => value));
    const end = this.#points.at(-1)[0];
    const span = Math.max(end - this.#points[0][0], LEAST_MS);
    const x = (at) => width - RIGHT - ((end - at) / span) * (width - RIGHT - LEFT);
    const y = (value) => TOP + ((high - value) / (high - low)) * (height - TOP - BOTTOM);
    for (const value of [low, (low + high) / 2, high]) {
      this.#put("line", { x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value), class: "grid" });
      this.#put("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }).textContent = shortest.format(value);
    }
    const line = this.#points.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`);
    this.#put("polyline", { points: line.join(" "), class: "curve" });
    const [at, value] = this.#points.at(-1);
    this.#put("circle", { cx: x(at), cy: y(value), r: 4 });
  }

  #put(tag, attributes) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    this.#svg.append(element);
    return element;
  }
}

/** What was drawn, in words. */
export function inWords(name, points) {
  const values = points.map(([, value]) => value);
  const seconds = Math.round((points.at(-1)[0] - points[0][0]) / 1000);
  const [low, high] = [Math.min(...values), Math.max(...values)].map((value) => short.format(value));
  return `${name}: lowest ${low}, highest ${high}, ${values.length} ${values.length === 1 ? "value" : "values"} in ${seconds} s.`;
}

// With some air above and below, but not below nothing; a flat line above that lies in the middle.
function range(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const air = (high - low) / 10 || Math.abs(high) / 10 || 1;
  return [low < 0 ? low - air : Math.max(low - air, 0), high + air];
}

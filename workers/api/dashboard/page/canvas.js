/** What both charts share: a sharp canvas of its container's size, the theme's colours, and round axis steps. */

const NAMES = ["text", "muted", "line", "panel", "up", "down", "accent", "unknown", "up-area", "down-area"];

/** @typedef {Record<string, string>} Palette */

/**
 * The theme's colours as the browser resolved them.
 * @returns {Palette}
 */
export function palette() {
  const probe = document.createElement("i");
  document.body.append(probe);
  /** @type {Palette} */
  const found = {};
  for (const name of NAMES) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}

/** A canvas that fills its container and is drawn at most once a frame. */
export class Surface {
  /**
   * @param {HTMLElement} container with one canvas in it
   * @param {(context: CanvasRenderingContext2D, width: number, height: number, colours: Palette) => void} draw
   */
  constructor(container, draw) {
    this.container = container;
    this.canvas = /** @type {HTMLCanvasElement} */ (container.querySelector("canvas"));
    this.draw = draw;
    this.waiting = false;
    /** @type {Palette|null} */
    this.colours = null;
    new ResizeObserver(() => this.redraw()).observe(container);
    document.addEventListener("themechange", () => {
      this.colours = null;
      this.redraw();
    });
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.#paint();
    });
  }

  #paint() {
    const width = this.container.clientWidth;
    const height = this.container.clientHeight;
    if (width === 0 || height === 0) return;
    const ratio = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const context = this.canvas.getContext("2d");
    if (context === null) return;
    this.colours ??= palette();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = `11px ${getComputedStyle(this.container).fontFamily}`;
    context.textBaseline = "middle";
    this.draw(context, width, height, this.colours);
  }
}

/**
 * A round step (1, 2 or 5 times a power of ten) so that about `count` of them cover `span`.
 * @param {number} span
 * @param {number} count
 */
export function roundStep(span, count) {
  const rough = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const times = rough / power;
  return power * (times > 5 ? 10 : times > 2 ? 5 : times > 1 ? 2 : 1);
}

/**
 * Multiples of a step within a range.
 * @param {number} low
 * @param {number} high
 * @param {number} step
 */
export function ticks(low, high, step) {
  const found = [];
  for (let index = Math.ceil(low / step); index * step <= high; index += 1) found.push(index * step);
  return found;
}

/**
 * A one-pixel line that is sharp.
 * @param {CanvasRenderingContext2D} context
 */
export function stroke(context, /** @type {number} */ x1, /** @type {number} */ y1, /** @type {number} */ x2, /** @type {number} */ y2) {
  context.beginPath();
  context.moveTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
  context.lineTo(Math.round(x2) + 0.5, Math.round(y2) + 0.5);
  context.stroke();
}

/**
 * Text on a filled box, kept within the width.
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} x the middle
 * @param {number} y the middle
 * @param {string} fill
 * @param {string} ink
 * @param {number} width of the surface
 */
export function tag(context, text, x, y, fill, ink, width) {
  const wide = context.measureText(text).width + 10;
  const left = Math.min(Math.max(0, x - wide / 2), width - wide);
  context.fillStyle = fill;
  context.fillRect(left, y - 8, wide, 16);
  context.fillStyle = ink;
  context.textAlign = "left";
  context.fillText(text, left + 5, y);
}

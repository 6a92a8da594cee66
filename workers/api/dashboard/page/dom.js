/** Finding and filling elements. Text is only written where it changed, so that a quiet value costs nothing. */

/** The element of an id that must be there. @param {string} id @returns {any} */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`no element ${id}`);
  return found;
}

/** @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * A new element.
 * @param {string} name
 * @param {Record<string, string>} [attributes]
 * @param {(Node|string)[]} children
 */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/**
 * A row of a table; a string makes a `td`, an element stays as it is.
 * @param {(string|Element)[]} cells
 * @param {string} [kind] class of the row
 */
export function row(cells, kind = "") {
  const made = make("tr", kind ? { class: kind } : {});
  for (const cell of cells) made.append(typeof cell === "string" ? make("td", {}, cell) : cell);
  return made;
}

/**
 * A group of radio buttons in a fieldset.
 * @param {HTMLElement} fieldset
 * @param {string} name
 * @param {[value: string, label: string][]} options
 * @param {(value: string) => void} onChoice
 * @returns {(value: string) => void} chooses without calling back
 */
export function choices(fieldset, name, options, onChoice) {
  for (const [value, label] of options) {
    const input = /** @type {HTMLInputElement} */ (make("input", { type: "radio", name, value }));
    input.addEventListener("change", () => onChoice(value));
    fieldset.append(make("label", {}, input, label));
  }
  return (chosen) => {
    for (const input of fieldset.querySelectorAll("input")) input.checked = input.value === chosen;
  };
}

/** The address of a view, which the browser keeps in its history: `#/notes/12?q=lisbon&tag=travel`. */
import { useEvents } from "./ui.js";

/** @typedef {{view: string, id: string, params: URLSearchParams}} Route */

/** @returns {Route} */
export function parse(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split("?");
  const [view, id = ""] = path.split("/");
  return { view: view || "notes", id, params: new URLSearchParams(search) };
}

/** Return the address of a view. */
export function href(view, id = "", params = new URLSearchParams()) {
  const search = params.toString();
  return `#/${view}${id && `/${id}`}${search && `?${search}`}`;
}

/** Go to an address. `replace` leaves no step back to the one before. */
export function go(address, replace = false) {
  if (replace) location.replace(address);
  else location.hash = address;
}

/** Go from a note to an address, unless the person has gone elsewhere meanwhile. */
export function leave(id, address, replace) {
  const { view, id: open } = parse(location.hash);
  if (view === "notes" && open === id) go(address, replace);
}

/** @returns {Route} */
export function useRoute() {
  return parse(useEvents(window, ["hashchange"], () => location.hash));
}

/** Return the parameters with other values: a text, a list of texts, or null for none. */
export function changed(params, values) {
  const result = new URLSearchParams(params);
  for (const [name, value] of Object.entries(values)) {
    result.delete(name);
    for (const each of [value ?? []].flat()) result.append(name, each);
  }
  return result;
}

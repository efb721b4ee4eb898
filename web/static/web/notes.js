/** The list of notes: newest first, page by page, as far as a person scrolls. */
import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { query, useQuery } from "./api.js";
import { FACETS, NOTES } from "./queries.js";
import { changed, go, href } from "./route.js";
import { Icon, Notice, Snippet, Tags, Time } from "./ui.js";

/**
 * Return the variables of the list that an address names.
 * @param {URLSearchParams} params `q`: a search, `tag`: names of tags, `scope`: `mine` or `all`
 * @param {?{id: string}} me
 */
export function listVariables(params, me) {
  const filter = {};
  const tags = params.getAll("tag");
  const text = params.get("q")?.trim();
  if (me && params.get("scope") !== "all") filter.authorId = { eq: me.id };
  if (tags.length) filter.tags = { all: { names: tags } };
  if (text) filter.searchPrefix = text;
  return { filter, orderBy: [{ field: text ? "RELEVANCE" : "CREATED_AT", direction: "DESC" }] };
}

const EMPTY = { rows: [], after: null, more: true, busy: false, problem: null };

/**
 * Keep a list that grows page by page. `replace`, `insert` and `remove` repeat what mutations have done.
 * Answers to earlier variables are dropped; the rows stay until the first page of the new ones has come.
 */
export function useNotes(variables) {
  const [state, setState] = useState(EMPTY);
  const text = JSON.stringify(variables);
  const newest = useRef();
  const edit = (change) => setState((before) => ({ ...before, rows: change(before.rows) }));

  async function load(after) {
    const request = (newest.current = { text });
    setState((before) => ({ ...before, after, busy: true, problem: null }));
    const { data, problem } = await query(NOTES, { ...variables, after });
    if (newest.current !== request) return;
    if (problem) return setState((before) => ({ ...before, busy: false, problem }));
    const { edges, pageInfo } = data.notesConnection;
    const page = edges.map(({ node, snippet }) => ({ ...node, snippet }));
    setState((before) => ({
      rows: after ? [...before.rows, ...page.filter(({ id }) => !before.rows.some((row) => row.id === id))] : page,
      after: pageInfo.endCursor,
      more: pageInfo.hasNextPage,
      busy: false,
    }));
  }
  useEffect(() => void load(null), [text]);

  return {
    ...state,
    loadMore: () => !state.busy && state.more && load(state.after),
    retry: () => load(state.after),
    insert: (note, index = 0) => edit((rows) => rows.filter(({ id }) => id !== note.id).toSpliced(index, 0, note)),
    replace: (note) => edit((rows) => rows.map((row) => (row.id === note.id ? { ...row, ...note } : row))),
    /** Take a note away; return its place. */
    remove: (id) => {
      edit((rows) => rows.filter((row) => row.id !== id));
      return Math.max(0, state.rows.findIndex((row) => row.id === id));
    },
  };
}

/** The rows, and the button for more of them, which presses itself when it comes into view. */
export function NoteList({ list, params, selected, me, empty }) {
  const button = useRef();
  const { rows, more, busy, problem } = list;
  useEffect(() => {
    if (!button.current) return undefined;
    const look = ([entry]) => entry.isIntersecting && list.loadMore();
    const observer = new IntersectionObserver(look, { scrollMargin: "400px" });
    observer.observe(button.current);
    return () => observer.disconnect();
  }, [rows, more, busy]);
  return html`<div aria-busy=${busy}>
    <ol class="notes">${rows.map((note) => html`<li key=${note.id}>
      <a href=${href("notes", note.id, params)} data-id=${note.id} aria-current=${note.id === selected ? "true" : undefined}>
        <h2>${note.title}</h2>
        ${note.snippet && html`<${Snippet} value=${note.snippet} />`}
        <p class="about">
          <${Time} value=${note.createdAt} />
          ${note.author.id !== me?.id && html`<span>${note.author.name}</span>`}
          ${note.author.id === me?.id && note.isPublic && html`<span class="shared"><${Icon} name="globe" />shared</span>`}
        </p>
        <${Tags} names=${note.tags.map(({ name }) => name)} />
      </a>
    </li>`)}</ol>
    <${Notice} problem=${problem} retry=${list.retry} />
    ${!problem && more && html`<button ref=${button} type="button" class="more" disabled=${busy} onClick=${list.loadMore}>
      ${busy ? "Loading …" : "More notes"}</button>`}
    ${!problem && !more && !rows.length && html`<p class="empty">${empty}</p>`}
  </div>`;
}

/** Which notes are listed: those of the viewer or all, with which tags; how many there are. */
export function Filters({ params, variables, me }) {
  const { data } = useQuery(FACETS, { filter: variables.filter });
  const chosen = params.getAll("tag");
  const { totalCount, tagFacets = [] } = data?.notesConnection ?? {};
  const rest = tagFacets.filter(({ tag }) => !chosen.includes(tag.name));
  const link = (tags) => href("notes", "", changed(params, { tag: tags }));
  const scope = params.get("scope") === "all" ? "all" : "mine";
  return html`<nav class="filters" aria-label="Which notes">
    ${me && html`<ul class="scopes">${[["mine", "My notes"], ["all", "Everybody's"]].map(([value, label]) => html`<li>
      <a href=${href("notes", "", changed(params, { scope: value === "all" ? "all" : null }))}
        aria-current=${scope === value ? "true" : undefined}>${label}</a></li>`)}</ul>`}
    <p class="count" role="status">${data && `${totalCount.toLocaleString()} ${totalCount === 1 ? "note" : "notes"}`}</p>
    ${(chosen.length || rest.length) > 0 && html`<h2>Tags</h2>`}
    <ul class="facets">
      ${chosen.map((name) => html`<li key=${name}><a class="tag chosen" href=${link(chosen.filter((each) => each !== name))}
        aria-label=${`Without the tag ${name}`}>${name}<${Icon} name="close" /></a></li>`)}
      ${rest.map(({ tag, count }) => html`<li key=${tag.name}><a class="tag" href=${link([...chosen, tag.name])}>
        ${tag.name} <span class="number">${count.toLocaleString()}</span></a></li>`)}
    </ul>
  </nav>`;
}

/** The field of the search. Each pause in typing searches; the address keeps the text. */
export function Search({ params }) {
  const timer = useRef();
  const input = useRef();
  const text = params.get("q") ?? "";
  useEffect(() => {
    if (document.activeElement !== input.current) input.current.value = text;
  }, [text]);
  useEffect(() => {
    const focus = (event) => {
      if (event.key !== "/" || event.target.closest("input, textarea, select, dialog")) return;
      event.preventDefault();
      input.current.focus();
    };
    addEventListener("keydown", focus);
    return () => removeEventListener("keydown", focus);
  }, []);
  const search = () => go(href("notes", "", changed(params, { q: input.current.value.trim() || null })), text !== "");
  const later = () => {
    clearTimeout(timer.current);
    timer.current = setTimeout(search, 250);
  };
  return html`<form class="search" role="search" onSubmit=${(event) => (event.preventDefault(), search())}>
    <${Icon} name="search" />
    <input ref=${input} type="search" aria-label="Search notes" placeholder="Search notes" aria-keyshortcuts="/"
      defaultValue=${text} onInput=${later} />
  </form>`;
}

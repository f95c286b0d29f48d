// The editor of statements and documents: completion from what there is to ask about, signatures of functions, errors underlined
// where they are.
//
// It stands in a shadow root: there CodeMirror keeps its styles in constructed style sheets, where in the document it would
// write <style> elements, which the page's Content-Security-Policy refuses.

import { autocompletion, closeBrackets, closeBracketsKeymap, closeCompletion, completionKeymap, type Completion, type CompletionContext, type CompletionResult } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { json, jsonParseLinter } from "@codemirror/lang-json";
import { SQLDialect, sql } from "@codemirror/lang-sql";
import { bracketMatching, HighlightStyle, indentOnInput, syntaxHighlighting } from "@codemirror/language";
import { linter, setDiagnostics, type Diagnostic } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState, type Extension, type Text, type Transaction } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, highlightSpecialChars, keymap, lineNumbers, placeholder as placeholderOf } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useEffect, useRef, type ReactNode } from "react";
import type { Place } from "../api/error";
import { quoted, type Routine, type Table } from "../api/sql";
import { about } from "./routines";

export interface Vocabulary {
  tables: Table[];
  routines: Routine[];
}

export interface Problem {
  message: string;
  place: Place | null;
}

interface EditorProps {
  value: string;
  onChange?: (value: string) => void;
  language: "sql" | "json";
  label: string;
  vocabulary?: Vocabulary | null;
  problem?: Problem | null;
  /** Ctrl+Enter; with what is selected, if anything is. */
  onRun?: (selected: string | null) => void;
  readOnly?: boolean;
  placeholder?: string;
}

const KEYWORDS =
  "select from where group by having order limit offset as and or not in is null between like escape case when then else end distinct join inner left right full outer cross on using union all asc desc nulls first last with over partition rows range unbounded preceding following current row filter explain plan for interval cast extract exists values grouping sets rollup cube true false floor ceil timestamp date unnest set year month week day hour minute second quarter to similar";
const dialect = SQLDialect.define({
  keywords: KEYWORDS,
  types: "varchar char bigint integer smallint tinyint double float real decimal boolean timestamp date array other json complex",
  identifierQuotes: '"',
  charSetCasts: false,
  doubleQuotedStrings: false,
  operatorChars: "*+-%<>!=|/",
});
const RESERVED = new Set(KEYWORDS.split(" ").concat("user", "value", "rows", "count", "language", "method", "path", "start", "size", "version", "type", "time", "comment"));

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier], color: "var(--syntax-keyword)", fontWeight: "600" },
  { tag: [tags.string, tags.special(tags.string)], color: "var(--syntax-string)" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--syntax-number)" },
  { tag: [tags.comment, tags.lineComment, tags.blockComment], color: "var(--syntax-comment)", fontStyle: "italic" },
  { tag: tags.typeName, color: "var(--syntax-number)" },
  { tag: tags.propertyName, color: "var(--syntax-keyword)" },
]);

const look = EditorView.theme({
  "&": { height: "100%", color: "var(--text)", backgroundColor: "var(--panel)", fontSize: "13px" },
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.6", overflow: "auto" },
  ".cm-content": { padding: "10px 0", caretColor: "var(--accent)" },
  ".cm-cursor": { borderLeftColor: "var(--accent)", borderLeftWidth: "2px" },
  ".cm-gutters": { backgroundColor: "var(--panel)", color: "var(--muted)", border: "none", paddingLeft: "4px" },
  ".cm-activeLine": { backgroundColor: "transparent" },
  "&.cm-focused .cm-activeLine": { backgroundColor: "var(--hover)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--selection)" },
  ".cm-matchingBracket, &.cm-focused .cm-matchingBracket": { backgroundColor: "var(--accent-soft)", outline: "1px solid var(--accent)" },
  ".cm-selectionMatch": { backgroundColor: "var(--accent-soft)" },
  ".cm-tooltip": { backgroundColor: "var(--raised)", color: "var(--text)", border: "1px solid var(--line)", borderRadius: "6px", boxShadow: "var(--shadow)" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", fontSize: "12.5px", maxHeight: "240px", minWidth: "300px" },
  ".cm-tooltip.cm-tooltip-autocomplete > ul > li": { padding: "3px 10px", display: "flex", gap: "12px" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent-soft)", color: "var(--text)" },
  ".cm-completionDetail": { marginLeft: "auto", fontStyle: "normal", color: "var(--muted)", fontSize: "11.5px" },
  ".cm-completionMatchedText": { textDecoration: "none", color: "var(--accent)", fontWeight: "600" },
  ".cm-tooltip.cm-completionInfo": { padding: "8px 12px", maxWidth: "420px", fontFamily: "var(--mono)", fontSize: "12px", whiteSpace: "pre-wrap" },
  ".cm-diagnostic": { padding: "6px 12px", fontFamily: "var(--font)", borderLeft: "3px solid var(--bad)", maxWidth: "520px", whiteSpace: "pre-wrap" },
  ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--bad)", textUnderlineOffset: "3px" },
  ".cm-panels": { backgroundColor: "var(--sunken)", color: "var(--text)" },
  ".cm-placeholder": { color: "var(--muted)" },
});

/** Where a place of the server's (lines and characters from 1, ends inclusive) is in a document. */
export function rangeOf(document: Text, place: Place): { from: number; to: number } {
  const at = (line: number, column: number): number => {
    const found = document.line(Math.max(1, Math.min(line, document.lines)));
    let units = 0;
    let left = column;
    // Characters of the server are code points, positions here are UTF-16 units.
    for (const character of found.text) {
      if (left <= 0) break;
      units += character.length;
      left -= 1;
    }
    return found.from + units;
  };
  const from = at(place.line, place.column - 1);
  const to = Math.max(from, at(place.endLine, place.endColumn));
  return to === from && to < document.length ? { from, to: to + 1 } : { from, to };
}

const insertable = (name: string): string => (/^[A-Za-z_]\w*$/.test(name) && !RESERVED.has(name.toLowerCase()) ? name : quoted(name));

/** Columns of the tables that the statement names, then tables, functions and keywords. */
export function completions(vocabulary: Vocabulary, statement: string): Completion[] {
  const named = new Set([...statement.matchAll(/\b(?:from|join)\s+((?:"[^"]+"|[\w.]+)+)/gi)].map((found) => (found[1] ?? "").replaceAll('"', "").split(".").pop()?.toLowerCase()));
  const found: Completion[] = [];
  const seen = new Set<string>();
  for (const table of vocabulary.tables) {
    const label = table.schema === "druid" ? insertable(table.name) : `${table.schema}.${insertable(table.name)}`;
    found.push({ label, type: "class", detail: table.schema === "druid" ? "datasource" : "table", boost: table.schema === "druid" ? 2 : -20 });
    if (!named.has(table.name.toLowerCase())) continue;
    for (const column of table.columns) {
      if (seen.has(column.name)) continue;
      seen.add(column.name);
      found.push({ label: column.name, apply: insertable(column.name), type: "property", detail: column.type.toLowerCase(), boost: 10 });
    }
  }
  for (const routine of vocabulary.routines) {
    found.push({
      label: routine.name,
      apply: `${routine.name}(`,
      type: "function",
      detail: (routine.signatures[0]?.slice(routine.name.length) ?? "").slice(0, 60) || (routine.aggregates ? "aggregate" : "function"),
      info: [routine.signatures.join("\n"), about(routine.name) ?? `${routine.aggregates ? "an aggregate of each group of rows" : "a function of each row"}`].join("\n\n"),
      boost: -5,
    });
  }
  for (const word of KEYWORDS.split(" ")) found.push({ label: word.toUpperCase(), type: "keyword", boost: -2 });
  return found;
}

function complete(vocabulary: () => Vocabulary | null) {
  return (context: CompletionContext): CompletionResult | null => {
    const word = context.matchBefore(/["\w.]+/);
    if (word === null && !context.explicit) return null;
    const known = vocabulary();
    if (known === null) return null;
    const dot = word?.text.lastIndexOf(".") ?? -1;
    if (word !== null && dot > 0) {
      const owner = word.text.slice(0, dot).replaceAll('"', "").toLowerCase();
      const alias = new RegExp(`\\b(?:from|join)\\s+([\\w."]+)\\s+(?:as\\s+)?${owner.replace(/[^\w]/g, "")}\\b`, "i").exec(context.state.doc.toString())?.[1];
      const table = (alias ?? owner).replaceAll('"', "").toLowerCase().split(".").pop();
      const inSchema = known.tables.filter((one) => one.schema.toLowerCase() === owner);
      const options: Completion[] =
        inSchema.length > 0
          ? inSchema.map((one) => ({ label: one.name, apply: insertable(one.name), type: "class" }))
          : known.tables
              .filter((one) => one.name.toLowerCase() === table)
              .flatMap((one) => one.columns.map((column) => ({ label: column.name, apply: insertable(column.name), type: "property", detail: column.type.toLowerCase() })));
      return { from: word.from + dot + 1, options, validFor: /^\w*$/ };
    }
    return { from: word?.from ?? context.pos, options: completions(known, context.state.doc.toString()), validFor: /^["\w]*$/ };
  };
}

/**
 * Text that is typed over a selection goes in through the editor. Left to it, Chromium gives the new text the look of what it
 * replaces by an inline style, which the page's policy refuses and the browser reports.
 */
const typedOver = EditorView.domEventHandlers({
  beforeinput(event, view) {
    const text = event.data;
    const { main } = view.state.selection;
    if (event.inputType !== "insertText" || text === null || main.empty || event.isComposing || view.composing || view.state.readOnly) return false;
    const insert = (): Transaction => view.state.update(view.state.replaceSelection(text), { userEvent: "input.type", scrollIntoView: true });
    if (!view.state.facet(EditorView.inputHandler).some((handles) => handles(view, main.from, main.to, text, insert))) view.dispatch(insert());
    return true;
  },
});

/** Completions that are still looked for would open over the page after the editor was left. */
const leftAlone = EditorView.domEventHandlers({
  blur(_, view) {
    closeCompletion(view);
    return false;
  },
});

export default function Editor(props: EditorProps): ReactNode {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const latest = useRef(props);
  latest.current = props;
  const language = useRef(new Compartment());

  useEffect(() => {
    const element = host.current;
    if (element === null) return;
    const root = element.shadowRoot ?? element.attachShadow({ mode: "open" });
    const parent = document.createElement("div");
    root.replaceChildren(parent);
    const { value, label, readOnly = false, placeholder = "" } = latest.current;
    const made = new EditorView({
      root,
      parent,
      state: EditorState.create({
        doc: value,
        extensions: [
          lineNumbers(),
          highlightSpecialChars(),
          history(),
          drawSelection(),
          indentOnInput(),
          bracketMatching(),
          closeBrackets(),
          highlightActiveLine(),
          highlightSelectionMatches(),
          typedOver,
          leftAlone,
          syntaxHighlighting(colours),
          look,
          EditorView.lineWrapping,
          EditorState.readOnly.of(readOnly),
          placeholderOf(placeholder),
          EditorView.contentAttributes.of({ "aria-label": label, spellcheck: "false", tabindex: "0" }),
          language.current.of(languageOf(latest)),
          keymap.of([
            {
              key: "Mod-Enter",
              run: (editor) => {
                closeCompletion(editor);
                const { from, to } = editor.state.selection.main;
                latest.current.onRun?.(from === to ? null : editor.state.sliceDoc(from, to));
                return true;
              },
            },
            ...closeBracketsKeymap,
            ...completionKeymap,
            ...searchKeymap,
            ...historyKeymap,
            // Tab leaves the editor: who works by keyboard must not be caught in it.
            ...defaultKeymap,
          ]),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) latest.current.onChange?.(update.state.doc.toString());
          }),
        ],
      }),
    });
    parent.style.height = "100%";
    view.current = made;
    return () => {
      made.destroy();
      view.current = null;
    };
  }, []);

  useEffect(() => {
    const editor = view.current;
    if (editor === null || editor.state.doc.toString() === props.value) return;
    editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: props.value } });
  }, [props.value]);

  useEffect(() => {
    view.current?.dispatch({ effects: language.current.reconfigure(languageOf(latest)) });
  }, [props.language]);

  useEffect(() => {
    const editor = view.current;
    if (editor === null) return;
    const { problem } = props;
    const diagnostics: Diagnostic[] =
      problem?.place === null || problem?.place === undefined ? [] : [{ ...rangeOf(editor.state.doc, problem.place), severity: "error", message: problem.message }];
    editor.dispatch(setDiagnostics(editor.state, diagnostics));
  }, [props.problem]);

  return <div ref={host} className="editor" />;
}

function languageOf(latest: { current: EditorProps }): Extension {
  if (latest.current.language === "json") return [json(), autocompletion(), ...(latest.current.readOnly === true ? [] : [linter(jsonParseLinter(), { delay: 500 })])];
  return [sql({ dialect, upperCaseKeywords: true }), autocompletion({ override: [complete(() => latest.current.vocabulary ?? null)], maxRenderedOptions: 80 })];
}

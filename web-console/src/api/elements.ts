// A long JSON array, read one element at a time as it comes, so that it can be shown how far it is and ended where there is enough.

const [QUOTE, BACKSLASH, COMMA, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [34, 92, 44, 91, 93, 123, 125];

const isSpace = (code: number): boolean => code === 32 || code === 10 || code === 13 || code === 9;

/** Takes text as it comes, gives the texts of whole elements. What is no array is one element, given by `end`. */
export class Elements {
  /** Of the element that is being read, what came before. */
  private begun: string[] = [];
  private depth = 0;
  private inText = false;
  private escaped = false;
  private inElement = false;
  private state: "before" | "within" | "single" | "after" = "before";

  take(text: string): string[] {
    const found: string[] = [];
    // Each character is looked at once, however long an element is.
    let from = this.inElement ? 0 : -1;
    for (let at = 0; at < text.length && this.state !== "after"; at += 1) {
      if (this.state === "single") break;
      const code = text.charCodeAt(at);
      if (this.inText) {
        if (this.escaped) this.escaped = false;
        else if (code === BACKSLASH) this.escaped = true;
        else if (code === QUOTE) this.inText = false;
        continue;
      }
      if (this.state === "before") {
        if (code === OPEN_LIST) this.state = "within";
        else if (!isSpace(code)) this.state = "single";
        continue;
      }
      if (this.depth === 0 && (code === COMMA || code === CLOSE_LIST)) {
        if (from >= 0) {
          this.begun.push(text.slice(from, at));
          found.push(this.begun.join(""));
          this.begun = [];
        }
        from = -1;
        if (code === CLOSE_LIST) this.state = "after";
        continue;
      }
      if (from < 0 && !isSpace(code)) from = at;
      if (code === QUOTE) this.inText = true;
      else if (code === OPEN_LIST || code === OPEN_OBJECT) this.depth += 1;
      else if (code === CLOSE_LIST || code === CLOSE_OBJECT) this.depth -= 1;
    }
    if (this.state === "single") this.begun.push(text);
    else if (from >= 0) this.begun.push(text.slice(from));
    this.inElement = from >= 0;
    return found;
  }

  /** Of what is no array, its text. `null` where an array has come to its end; throws where it broke off. */
  end(): string | null {
    if (this.state === "single") return this.begun.join("");
    if (this.state === "after") return null;
    throw new Error("the answer broke off");
  }
}

// What went wrong, as the page tells it: one error type made of every shape that the server answers with (Druid's query errors,
// management errors, refusals), of a lost connection and of a cancelled request.

/** By what the reader can do about it. */
export type ErrorKind =
  | "invalid" // change what was asked
  | "denied" // ask an administrator
  | "signed-out" // sign in
  | "missing" // it is not there (any more)
  | "busy" // wait, try again
  | "unreachable" // the server does not answer
  | "cancelled" // somebody ended it on purpose
  | "failed"; // the server's fault

/** Where in a statement; lines and columns from 1, ends inclusive, in characters. */
export interface Place {
  line: number;
  column: number;
  endLine: number;
  endColumn: number;
}

export class ApiError extends Error {
  readonly kind: ErrorKind;
  readonly status: number;
  readonly place: Place | null;
  readonly retryAfterSeconds: number | null;

  constructor(kind: ErrorKind, message: string, more: { status?: number; place?: Place | null; retryAfter?: number | null } = {}) {
    super(message);
    this.name = "ApiError";
    this.kind = kind;
    this.status = more.status ?? 0;
    this.place = more.place ?? null;
    this.retryAfterSeconds = more.retryAfter ?? null;
  }
}

const kindOfStatus = (status: number): ErrorKind => {
  switch (status) {
    case 401:
      return "signed-out";
    case 403:
      return "denied";
    case 404:
      return "missing";
    case 408:
    case 429:
    case 503:
    case 504:
      return "busy";
    default:
      return status >= 500 ? "failed" : "invalid";
  }
};

const kindOfCode = (code: unknown, status: number): ErrorKind => {
  if (typeof code !== "string") return kindOfStatus(status);
  if (/cancell?ed/i.test(code)) return "cancelled";
  return kindOfStatus(status);
};

const number = (value: unknown): number | null => {
  const read = Number(value);
  return value !== undefined && value !== null && Number.isInteger(read) && read > 0 ? read : null;
};

const placeOf = (context: unknown): Place | null => {
  if (typeof context !== "object" || context === null) return null;
  const said = context as Record<string, unknown>;
  const line = number(said.line);
  const column = number(said.column);
  if (line === null || column === null) return null;
  return { line, column, endLine: number(said.endLine) ?? line, endColumn: number(said.endColumn) ?? column };
};

/** Reads the body of an answer that is not 2xx, whatever it is. */
export function errorOf(status: number, body: string, retryAfter: string | null = null): ApiError {
  const more = { status, retryAfter: number(retryAfter) };
  let said: unknown;
  try {
    said = JSON.parse(body);
  } catch {
    const text = body.trim();
    // A proxy's page of HTML says nothing that is worth showing.
    const message = text === "" || text.startsWith("<") ? `the server answered with status ${status}` : text.slice(0, 2000);
    return new ApiError(status === 502 ? "unreachable" : kindOfStatus(status), message, more);
  }
  if (typeof said !== "object" || said === null) return new ApiError(kindOfStatus(status), String(said), more);
  const fields = said as Record<string, unknown>;
  const access = fields["Access-Check-Result"];
  if (typeof access === "string") {
    const message = access === "Unauthorized" ? "You may not see this; ask an administrator for the right to it." : access;
    return new ApiError("denied", message, more);
  }
  const message = [fields.errorMessage, fields.error, fields.message].find((text) => typeof text === "string" && text !== "");
  return new ApiError(kindOfCode(fields.errorCode ?? fields.error, status), String(message ?? `status ${status}`), {
    ...more,
    place: placeOf(fields.context),
  });
}

/** Makes an `ApiError` of whatever was thrown. */
export function asApiError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  if (thrown instanceof DOMException && thrown.name === "AbortError") return new ApiError("cancelled", "The connection to the server was ended.");
  if (thrown instanceof TypeError) return new ApiError("unreachable", "The server does not answer. It may be restarting, or the network is gone.");
  return new ApiError("failed", thrown instanceof Error ? thrown.message : String(thrown));
}

// What a view shows when it has nothing to show: that it waits, that there is nothing, or what went wrong and what to do.

import type { ReactNode } from "react";
import type { ApiError } from "../api/error";
import { Icon } from "./icon";
import type { Live } from "./live";

export function Loading({ what = "Loading" }: { what?: string }): ReactNode {
  return (
    <div className="state" role="status">
      <span className="spinner" aria-hidden="true" />
      {what}…
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ReactNode }): ReactNode {
  return (
    <div className="state">
      <strong>{title}</strong>
      {children !== undefined && <div className="muted">{children}</div>}
    </div>
  );
}

const heads: Record<ApiError["kind"], string> = {
  invalid: "That was not understood",
  denied: "Not permitted",
  "signed-out": "Signed out",
  missing: "Not found",
  busy: "The server is busy",
  unreachable: "No connection",
  cancelled: "Cancelled",
  failed: "The server failed",
};

export function Failed({ error, retry }: { error: ApiError; retry?: () => void }): ReactNode {
  return (
    <div className="notice bad" role="alert">
      <Icon name="warn" />
      <div className="grow">
        <strong>{heads[error.kind]}</strong>
        <div className="said">
          <bdi>{error.message}</bdi>
          {error.retryAfterSeconds !== null && ` Try again in ${error.retryAfterSeconds} s.`}
        </div>
      </div>
      {retry !== undefined && error.kind !== "denied" && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** Data with its states: what is known stays on the page while the server is away. */
export function Shown<T>({ live, what, children }: { live: Live<T>; what?: string; children: (data: T) => ReactNode }): ReactNode {
  return (
    <>
      {live.error !== null && <Failed error={live.error} retry={live.refresh} />}
      {live.data !== null ? children(live.data) : live.error === null ? <Loading what={what} /> : null}
    </>
  );
}

// Pages of a long list: where one is in it, and the pages beside.

import type { ReactNode } from "react";
import { count } from "./format";
import { Icon } from "./icon";

/** Rows of a page. */
export const PAGE = 200;

interface PagerProps {
  /** From 0. */
  page: number;
  /** Of all pages; `null` where it is not known yet. */
  total: number | null;
  /** On this page. */
  shown: number;
  /** What is counted, for those who hear the buttons. */
  of: string;
  onPage: (page: number) => void;
}

export function Pager({ page, total, shown, of, onPage }: PagerProps): ReactNode {
  const first = page * PAGE;
  const more = total === null ? shown === PAGE : first + shown < total;
  return (
    <div className="row pager" role="group" aria-label={`Pages of ${of}`}>
      <span className="figures muted" role="status">
        {shown === 0 ? "none" : `${count(first + 1)} to ${count(first + shown)}`}
        {total !== null && shown > 0 && ` of ${count(total)}`}
      </span>
      <button type="button" aria-label="Page before" disabled={page === 0} onClick={() => onPage(page - 1)}>
        <span className="turned">
          <Icon name="right" size={14} />
        </span>
      </button>
      <button type="button" aria-label="Next page" disabled={!more} onClick={() => onPage(page + 1)}>
        <Icon name="right" size={14} />
      </button>
    </div>
  );
}

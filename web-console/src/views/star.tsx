// The mark of a dashboard that a person keeps close at hand.

import type { ReactNode } from "react";
import { Icon } from "../parts/icon";
import { set, useSettings } from "../settings";

export function Star({ id, name }: { id: string; name: string }): ReactNode {
  const { starred } = useSettings();
  const on = starred.includes(id);
  return (
    <button
      type="button"
      className={on ? "bare star on" : "bare star"}
      aria-pressed={on}
      aria-label={`Keep ${name} close at hand`}
      title={on ? "Close at hand: first in the list, and at home" : "Keep close at hand"}
      onClick={() => set({ starred: on ? starred.filter((one) => one !== id) : [...starred, id] })}
    >
      <Icon name="star" size={16} />
    </button>
  );
}

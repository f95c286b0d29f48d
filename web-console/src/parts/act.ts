// Something that is done once, and may fail: whether it is under way, and what went wrong.

import { useState } from "react";
import { asApiError, type ApiError } from "../api/error";

export interface Act {
  busy: boolean;
  error: ApiError | null;
  /** Ends with whether it was done. Who leaves the page after it is not told. */
  run: (what: () => Promise<unknown>) => Promise<boolean>;
}

export function useAct(): Act {
  const [state, setState] = useState<{ busy: boolean; error: ApiError | null }>({ busy: false, error: null });
  const run = async (what: () => Promise<unknown>): Promise<boolean> => {
    setState({ busy: true, error: null });
    try {
      await what();
      setState({ busy: false, error: null });
      return true;
    } catch (thrown) {
      setState({ busy: false, error: asApiError(thrown) });
      return false;
    }
  };
  return { ...state, run };
}

// What there is to ask about, for the completion of an editor.

import { may } from "../api/session";
import { routines, tables } from "../api/sql";
import type { Vocabulary } from "../parts/editor";
import { useLive, type Live } from "../parts/live";
import { useSession } from "../session";

export function useVocabulary(): Live<Vocabulary> {
  const { who } = useSession();
  return useLive(async (signal): Promise<Vocabulary> => {
    const [all, functions] = await Promise.all([tables(signal), routines(signal)]);
    // The server lists tables of the schema sys to everybody, but the audit log, and answers from them to some.
    return { tables: all.filter((one) => one.schema !== "sys" || one.name === "audit" || may(who, "SYSTEM_TABLE", one.name, "READ")), routines: functions };
  }, [who.username]);
}

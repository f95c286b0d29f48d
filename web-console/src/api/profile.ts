// What a person's own user holds for the page: settings that follow the person from browser to browser.

import { ask, askJson } from "./client";
import { asApiError } from "./error";

interface Own {
  email?: string;
  profile: Record<string, unknown>;
  settings: Record<string, unknown>;
  version: number;
}

const PATH = "/henge/v1/security/profile";

export async function ownSettings(signal?: AbortSignal): Promise<Record<string, unknown>> {
  const own = await askJson<Own>(PATH, { signal });
  const said = own.settings.console;
  return typeof said === "object" && said !== null ? (said as Record<string, unknown>) : {};
}

/** Changes the page's part and leaves the rest as it is at that moment. */
export async function putOwnSettings(settings: object): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    const own = await askJson<Own>(PATH);
    try {
      await ask(PATH, {
        method: "PUT",
        json: { ...(own.email === undefined || own.email === null ? {} : { email: own.email }), profile: own.profile, settings: { ...own.settings, console: settings } },
        headers: { "If-Match": `"${own.version}"` },
      });
      return;
    } catch (thrown) {
      const { status } = asApiError(thrown);
      if ((status !== 409 && status !== 412) || attempt > 2) throw thrown;
    }
  }
}

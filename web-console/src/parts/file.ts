// Files between the page and the person: one to be kept, one to be read.

export function keepFile(name: string, what: Blob | string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(typeof what === "string" ? new Blob([what], { type: "application/json" }) : what);
  // What a file system takes for a path or refuses is left out of the name.
  link.download = name.replace(/[\\/:*?"<>|\u0000-\u001f]+/g, " ").trim() || "file";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Lets the person choose a file; `null` if none is chosen or it is larger than `bytesMax`. */
export function chooseText(accept: string, bytesMax: number): Promise<{ name: string; text: string } | null> {
  return new Promise((resolve) => {
    const input = document.createElement("input");
    input.type = "file";
    input.accept = accept;
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      if (file === undefined || file.size > bytesMax) return resolve(null);
      void file.text().then(
        (text) => resolve({ name: file.name, text }),
        () => resolve(null),
      );
    });
    input.addEventListener("cancel", () => resolve(null));
    input.click();
  });
}

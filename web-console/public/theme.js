// Sets the chosen theme before the first paint; a module would come too late and flash.
try {
  var theme = JSON.parse(localStorage.getItem("henge.settings") || "{}").theme;
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch (_) {
  // Without storage the theme is the system's.
}

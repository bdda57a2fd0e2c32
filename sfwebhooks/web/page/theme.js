/* Sets the theme that was chosen before the first paint; without a choice the system's holds. */
(() => {
  try {
    const chosen = localStorage.getItem("theme");
    if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  } catch {
    // storage is blocked in this browser: the system's theme holds
  }
})();

// Runs before the first paint, so that a chosen theme does not flash.
document.documentElement.classList.add("js");
try {
  const theme = localStorage.getItem("keyfare-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage can be closed to us; the system's scheme holds then.
}

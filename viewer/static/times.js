// Durations as viewer/texts.py prints them, and the server's clock as the page knows it. Times are microseconds since the epoch.

const UNITS = [[60, "min", "s", 60, 1], [24, "h", "min", 3600, 60], [100, "d", "h", 86400, 3600]];

export function durationText(durationUs) {
  const seconds = Math.max(durationUs, 0) / 1e6;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  for (const [most, large, small, largeS, smallS] of UNITS) {
    if (whole < largeS * most) return `${Math.floor(whole / largeS)} ${large} ${Math.floor((whole % largeS) / smallS)} ${small}`;
  }
  return `${Math.floor(whole / 86400).toLocaleString("en")} d`;
}

// The browser's clock may be wrong: what counts is how much time went by since the server made the page.
export function serverClock(serverNowUs) {
  const offsetMs = serverNowUs / 1000 - performance.now();
  return () => (performance.now() + offsetMs) * 1000;
}

/**
 * Ways to put this process to sleep: for a moment in which it really does nothing, or by a clock that jumps.
 */
import FakeTimers from "@sinonjs/fake-timers";
import type { Clock } from "@sinonjs/fake-timers";

/** Keeps this process from doing anything else. */
export function block(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end;);
}

/** Gives a test a clock that stands still until the test moves it. Sockets go on in real time. */
export async function withClock(use: (clock: Clock) => Promise<void>): Promise<void> {
  const clock = FakeTimers.install({
    now: new Date("2026-01-01"),
    toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date", "performance"],
  });
  try {
    await use(clock);
  } finally {
    clock.uninstall();
  }
}

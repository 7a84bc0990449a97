// Values that `taps` can make outputs: results of modules, and named values within modules.

/** The taps of one trace. V is the values of its graph. */
export class Taps<V> {
  private readonly kept = new Map<string, V | undefined>();
  private readonly offers = new Map<string, boolean>();

  constructor(private readonly wanted: ReadonlySet<string> = new Set()) {}

  /** True for a requested path. */
  asksFor(path: string): boolean {
    return this.wanted.has(path);
  }
  /**
   * Offers a value within a module as a tap; returns true if it was requested. `single` is false in a branch or a loop; a path that is offered
   * twice has no single value either.
   */
  offer(path: string, single: boolean): boolean {
    this.offers.set(path, single && !this.offers.has(path));
    return this.asksFor(path);
  }
  /** The value at a path; undefined for one of a branch or a loop. A path with several values has none. */
  keep(path: string, value: V | undefined): void {
    this.kept.set(path, this.kept.has(path) ? undefined : value);
  }
  /** The value at a path. */
  at(path: string): V | undefined {
    return this.kept.get(path);
  }
  /** True for a path that ran, but has more than one value, or one within a branch or a loop. */
  isDivided(path: string): boolean {
    return this.offers.get(path) === false || (this.kept.has(path) && this.kept.get(path) === undefined);
  }
  /** Paths of the offered values that can be tapped. */
  get offered(): readonly string[] {
    return [...this.offers].filter(([, single]) => single).map(([path]) => path);
  }
}

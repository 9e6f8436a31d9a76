/**
 * Which of several roads to take, the best first. A road that says nothing, again and again, is blocked; one that has
 * served before is rather believed to be down for a moment. No I/O.
 */
const PATIENCE = { unknown: 2, proven: 5 }; // attempts without a word

export class Choice {
  /** @param {number} roads */
  constructor(roads) {
    this.roads = roads;
    this.index = 0;
    this.misses = 0;
    /** @type {Set<number>} */
    this.proven = new Set();
  }

  heard() {
    this.proven.add(this.index);
    this.misses = 0;
  }

  missed() {
    this.misses += 1;
    const patience = this.proven.has(this.index) ? PATIENCE.proven : PATIENCE.unknown;
    if (this.misses >= patience) this.take((this.index + 1) % this.roads);
  }

  /** @param {number} index */
  take(index) {
    this.index = index;
    this.misses = 0;
  }
}

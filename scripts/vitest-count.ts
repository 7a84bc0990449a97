import { appendFileSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';

/** Ends a run with why each skipped test was skipped and the counts in one plain line, also appended to the file $TEST_COUNTS. */
export default class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    let passed = 0;
    let failed = errors.length;
    let skipped = 0;
    for (const module of modules) {
      failed += module.errors().length;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === 'passed') passed++;
        else if (result.state === 'failed') failed++;
        else {
          skipped++;
          const note = result.state === 'skipped' ? result.note : undefined;
          console.log(
            `skipped ${module.project.name} ${module.relativeModuleId} > ${test.fullName}: ${note ?? 'no reason given'}`,
          );
        }
      }
    }
    console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
    if (process.env.TEST_COUNTS) appendFileSync(process.env.TEST_COUNTS, `${passed} ${failed} ${skipped}\n`);
  }
}

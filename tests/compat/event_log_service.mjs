// Plays the service that used the original event log's program: it starts the command line for every
// operation, reads one JSON document from its standard output, and lives with whatever goes wrong.
//
//   node event_log_service.mjs CONFIG_JSON     {"command": [...], "dbPath", "circuitBreaker", "steps": [[method, ...args]]}
//
// Prints one JSON array: what each step came to.
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";

function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command[0], [...command.slice(1), ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    let err = "";
    child.stdout.on("data", (bytes) => { out += bytes; });
    child.stderr.on("data", (bytes) => { err += bytes; });
    child.on("error", reject);
    child.on("close", (code) => {
      if (code !== 0) {
        reject(new Error(`exit status ${code}: ${err.trim()}`));
        return;
      }
      try {
        resolve(JSON.parse(out));
      } catch (error) {
        reject(new Error(`no JSON: ${out}`));
      }
    });
  });
}

class CircuitBreakerError extends Error {
  constructor(threshold, windowMinutes, entry) {
    super(`Circuit breaker tripped: more than ${threshold} credits in ${windowMinutes} minutes`);
    this.code = "CIRCUIT_BREAKER_TRIPPED";
    this.status = 503;
    this.context = { threshold, windowMinutes, entry };
  }
}

class EventLogService {
  constructor({ command, dbPath, circuitBreaker = {} }) {
    this.command = command;
    this.dbPath = dbPath;
    this.breaker = { enabled: true, windowMinutes: 60, threshold: 1000000, ...circuitBreaker };
    this.degraded = false;
  }

  call(operation, ...args) {
    return run(this.command, ["--operation", operation, "--db-path", this.dbPath, ...args]);
  }

  async init() {
    try {
      const answer = await this.call("init");
      this.degraded = answer.success !== true;
    } catch {
      this.degraded = true;
    }
    return !this.degraded;
  }

  async getCreditsInWindow(minutes) {
    const start = new Date(Date.now() - minutes * 60000).toISOString();
    try {
      const answer = await this.call("get_credits_in_window", "--window-start", start);
      return answer.error ? 0 : answer.total_credits;
    } catch {
      return 0;
    }
  }

  async logEvent(entry) {
    if (this.breaker.enabled) {
      const credits = await this.getCreditsInWindow(this.breaker.windowMinutes);
      if (credits >= this.breaker.threshold) {
        throw new CircuitBreakerError(this.breaker.threshold, this.breaker.windowMinutes, entry);
      }
    }
    try {
      const event = { method: "GET", credits_cost: 0, ...entry };
      event.id ??= randomUUID();
      event.timestamp ??= new Date().toISOString();
      return await this.call("log", "--event", JSON.stringify(event));
    } catch (error) {
      return { swallowed: error.message };
    }
  }

  // A burst of calls logs at the same time.
  logAll(entries) {
    return Promise.all(entries.map((entry) => this.logEvent(entry)));
  }

  async getStats({ apiName, startDate, endDate } = {}) {
    const args = [];
    if (apiName) args.push("--api-name", apiName);
    if (startDate) args.push("--start-date", startDate);
    if (endDate) args.push("--end-date", endDate);
    const answer = await this.call("get_stats", ...args);
    return {
      totalEvents: answer.total_events, totalCredits: answer.total_credits,
      successRate: answer.success_rate * 100, avgLatency: answer.avg_latency,
      errorCount: answer.error_count,
    };
  }
}

const config = JSON.parse(process.argv[2]);
const service = new EventLogService(config);
const results = [];
for (const [method, ...args] of config.steps) {
  try {
    results.push(await service[method](...args));
  } catch (error) {
    results.push({ code: error.code, status: error.status, context: error.context, message: error.message });
  }
}
console.log(JSON.stringify(results));

// tutti-chaos: the long chaos run. Exit code 0 when every invariant held.
#include <CLI/CLI.hpp>

#include "chaos_run.h"

int main(int argc, char** argv) {
  tutti::chaos::ChaosOptions options;
  CLI::App app("Kills worker processes of a serving engine and checks that nobody notices.",
               "tutti-chaos");
  app.add_option("--model", options.model, "Directory or bundled model")->capture_default_str();
  app.add_option("--requests", options.num_requests)->capture_default_str();
  app.add_option("--concurrency", options.concurrency)->capture_default_str();
  app.add_option("--kills", options.num_kills, "Over all stages, in turn")->capture_default_str();
  app.add_option("--replicas", options.num_replicas, "Of each stage")->capture_default_str();
  app.add_option("--seed", options.seed)->capture_default_str();
  app.add_option("--timeout", options.timeout_s, "Seconds")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const tutti::chaos::ChaosReport report = tutti::chaos::run(options);
  tutti::chaos::print(report);
  return report.violations.empty() ? 0 : 1;
}

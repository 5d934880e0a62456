// `tutti config`: what a model would run with, without loading it.
#include <cstdio>
#include <sstream>
#include <string>

#include "apps/tutti/command.h"
#include "orchestrator/engine_plan.h"

namespace tutti::cli {

int run_config(const ConfigFlags& flags) {
  const auto plan = plan_engine(flags.model, flags.engine);
  if (!plan.ok()) return report_error(plan.error());
  std::string text = engine_config_yaml(plan->config) + "# Memory:\n";
  std::istringstream table(plan->memory.table());
  for (std::string line; std::getline(table, line);) text += "#   " + line + "\n";
  std::fputs(text.c_str(), stdout);
  const Status fits = plan->memory.check();
  return fits.ok() ? kExitOk : report_error(fits);
}

}  // namespace tutti::cli

// tutti-bench-memory: the memory plan of a model beside what the process really took, after loading
// and after requests that fill the KV caches.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <limits>

#include "tutti/async_omni_engine.h"

#include "base/log.h"
#include "orchestrator/engine_plan.h"

namespace tutti {
namespace {

struct Flags {
  std::string model = TUTTI_SOURCE_DIR "/models/nano";
  std::vector<std::string> settings;
  int32_t requests = 8;
  int32_t prompt_tokens = 128;
  int32_t max_tokens = 32;
  EngineOptions engine;
};

// A figure of /proc/self/status in bytes.
int64_t process_bytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string key; status >> key;) {
    int64_t kilobytes = 0;
    if (key == field + ":" && status >> kilobytes) return kilobytes * 1024;
    status.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

// Different from the first token on, so that no request takes the KV blocks of another. A model
// that speaks wants a chat.
Prompt make_prompt(bool chat, int32_t tokens, int32_t index) {
  if (chat) {
    std::string letters;
    for (int32_t i = 0; i < tokens; ++i) {
      letters += static_cast<char>('a' + (7 * i + 3 * index) % 26);
      letters += ' ';
    }
    ChatPrompt prompt;
    prompt.messages.push_back(ChatMessage::text("user", letters));
    return prompt;
  }
  TokensPrompt prompt;
  for (int32_t i = 0; i < tokens; ++i) prompt.token_ids.push_back((7 * i + 13 * index + 1) % 250);
  return prompt;
}

AddRequest make_request(const AsyncOmniEngine& engine, const Flags& flags, int32_t index) {
  AddRequest request;
  request.request_id = std::to_string(index);
  request.prompt = make_prompt(!engine.voices().empty(), flags.prompt_tokens, index);
  request.sampling_params_list = engine.default_sampling_params_list();
  for (SamplingParams& params : request.sampling_params_list) {
    params.max_tokens = flags.max_tokens;
    params.ignore_eos = true;
  }
  for (int32_t s = 0; s < engine.num_stages(); ++s) {
    if (engine.stage_metadata()[s].final_output) request.final_output_stage_ids.push_back(s);
  }
  return request;
}

Status run_requests(AsyncOmniEngine& engine, const Flags& flags) {
  for (int32_t i = 0; i < flags.requests; ++i) {
    TUTTI_RETURN_IF_ERROR(engine.add_request(make_request(engine, flags, i)));
  }
  for (int32_t finished = 0; finished < flags.requests;) {
    TUTTI_ASSIGN_OR_RETURN(const auto message, engine.try_get_output(60));
    if (!message) return deadline_exceeded("the engine has been silent for a minute");
    if (const auto* error = std::get_if<ErrorMessage>(&*message)) return error->error;
    const auto* output = std::get_if<OutputMessage>(&*message);
    finished += output != nullptr && output->finished ? 1 : 0;
  }
  return {};
}

void print_row(const char* what, int64_t planned, int64_t measured) {
  const double ratio = static_cast<double>(planned) / static_cast<double>(measured);
  fmt::print("{:<28} {:>9.1f} MB {:>9.1f} MB   {:.2f}\n", what, static_cast<double>(planned) / 1e6,
             static_cast<double>(measured) / 1e6, ratio);
}

Status measure(Flags flags) {
  for (const std::string& setting : flags.settings) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos) return invalid_argument("--set takes KEY=VALUE");
    TUTTI_RETURN_IF_ERROR(set_engine_option(flags.engine, setting.substr(0, equals),
                                            setting.substr(equals + 1), "--set"));
  }
  TUTTI_ASSIGN_OR_RETURN(const EnginePlan plan, plan_engine(flags.model, flags.engine));
  fmt::print("{}", plan.memory.table());
  int64_t weights = 0;
  for (const StageMemory& stage : plan.memory.stages) {
    weights += stage.mapped_weight_bytes + stage.num_replicas * stage.copied_weight_bytes;
  }
  const int64_t before = process_bytes("VmRSS");
  TUTTI_ASSIGN_OR_RETURN(const auto engine, AsyncOmniEngine::create(flags.model, flags.engine));
  const int64_t loaded = process_bytes("VmRSS") - before;
  TUTTI_RETURN_IF_ERROR(run_requests(*engine, flags));
  const int64_t full = process_bytes("VmHWM") - before;
  fmt::print("{:<28} {:>12} {:>12}   planned / measured\n", "", "planned", "resident");
  print_row("weights, after loading", weights, loaded);
  print_row("all, most while running", plan.memory.devices[0].needed_bytes, full);
  return {};
}

int run(int argc, char** argv) {
  init_logging();
  CLI::App app("The memory plan beside resident memory");
  Flags flags;
  app.add_option("--model", flags.model, "Model directory");
  app.add_option("--set", flags.settings, "Option of the engine by its deploy key: KEY=VALUE");
  app.add_option("--stage-overrides", flags.engine.stage_overrides, "STAGE.KEY=VALUE");
  app.add_option("--requests", flags.requests, "Requests at once");
  app.add_option("--prompt-tokens", flags.prompt_tokens, "Tokens of each prompt");
  app.add_option("--max-tokens", flags.max_tokens, "Tokens of each stage's output");
  CLI11_PARSE(app, argc, argv);
  const Status status = measure(std::move(flags));
  if (!status.ok()) fmt::print(stderr, "error: {}\n", status.message());
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace tutti

int main(int argc, char** argv) { return tutti::run(argc, argv); }

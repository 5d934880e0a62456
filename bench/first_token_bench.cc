// tutti-bench-first-token: how long a caller waits for the first token of an answer about a
// picture, and what the caches leave of it when another question about the same picture follows.
// Random weights of a config's shapes, through AsyncOmniEngine, from the JPEG file's bytes to the
// token.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "tutti/async_omni_engine.h"

#include "photo.h"

namespace tutti {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

struct Settings {
  std::string config = TUTTI_SOURCE_DIR "/bench/configs/vision-0.2b";
  std::string text_files = TUTTI_SOURCE_DIR "/models/nano";
  int threads = 0;
  int pictures = 3;
  int width = 1920;
  int height = 1080;
};

// A model directory of links: the config's files, and a tokenizer and chat template that fit it.
class ModelDirectory {
 public:
  explicit ModelDirectory(const Settings& settings)
      : path_(fs::temp_directory_path() / fmt::format("tutti_first_token_{}", getpid())) {
    fs::create_directories(path_);
    for (const char* name : {"config.json", "generation_config.json", "preprocessor_config.json"}) {
      fs::create_symlink(fs::absolute(settings.config) / name, path_ / name);
    }
    for (const char* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.json"}) {
      fs::create_symlink(fs::absolute(settings.text_files) / name, path_ / name);
    }
  }
  ~ModelDirectory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ModelDirectory(const ModelDirectory&) = delete;
  ModelDirectory& operator=(const ModelDirectory&) = delete;
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

using Picture = std::shared_ptr<const std::vector<std::byte>>;

AddRequest request(int id, const Picture& picture, const std::string& question) {
  AddRequest request;
  request.request_id = std::to_string(id);
  ChatMessage user;
  user.role = "user";
  if (picture != nullptr) {
    MediaItem item;
    item.bytes = picture;
    user.content.push_back({"", item});
  }
  user.content.push_back({question, std::nullopt});
  ChatPrompt chat;
  chat.messages.push_back(std::move(user));
  request.prompt = std::move(chat);
  SamplingParams one_token;
  one_token.temperature = 0;
  one_token.max_tokens = 1;
  one_token.ignore_eos = true;
  request.sampling_params_list = {one_token};
  return request;
}

// Seconds from add_request() to the first token; waits for the end.
Result<double> first_token(AsyncOmniEngine& engine, AddRequest request) {
  constexpr double kPatience_s = 300;
  const auto begin = Clock::now();
  const auto passed = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  TUTTI_RETURN_IF_ERROR(engine.add_request(std::move(request)));
  std::optional<double> first;
  while (passed() < kPatience_s) {
    TUTTI_ASSIGN_OR_RETURN(const auto message, engine.try_get_output(1));
    if (!message) continue;
    if (const auto* error = std::get_if<ErrorMessage>(&*message)) return error->error;
    const auto* output = std::get_if<OutputMessage>(&*message);
    if (output == nullptr) continue;
    if (!first && !output->output.token_ids.empty()) first = passed();
    if (output->finished) return first.value_or(passed());
  }
  return deadline_exceeded(fmt::format("No token came within {} s.", kPatience_s));
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

void row(const std::string& what, double value, const char* unit, const char* target = "") {
  fmt::print("{:<58} {:>9.2f} {:<3} {:>8}\n", what, value, unit, target);
}

Status bench(const Settings& settings) {
  const ModelDirectory model(settings);
  EngineOptions options;
  options.load_format = "dummy";
  options.num_threads = settings.threads;
  TUTTI_ASSIGN_OR_RETURN(const auto engine, AsyncOmniEngine::create(model.path(), options));
  int id = 0;
  const auto ask = [&](const Picture& picture, const std::string& question) {
    return first_token(*engine, request(id++, picture, question));
  };
  // Weights and threads are warm before the first picture; its size is not in the caches' way.
  TUTTI_RETURN_IF_ERROR(ask(nullptr, "Is anybody there?").status());
  TUTTI_RETURN_IF_ERROR(
      ask(std::make_shared<std::vector<std::byte>>(photo_jpeg(64, 64, 0)), "Warm?").status());

  std::vector<double> text, first, second, ratio;
  for (int i = 0; i < settings.pictures; ++i) {
    const auto picture = std::make_shared<std::vector<std::byte>>(
        photo_jpeg(settings.width, settings.height, static_cast<uint32_t>(i + 1)));
    TUTTI_ASSIGN_OR_RETURN(const double alone, ask(nullptr, fmt::format("{} and {}?", i, i + 1)));
    TUTTI_ASSIGN_OR_RETURN(const double cold, ask(picture, "What is in the picture?"));
    TUTTI_ASSIGN_OR_RETURN(const double warm, ask(picture, "How many colours does it have?"));
    text.push_back(alone);
    first.push_back(cold);
    second.push_back(warm);
    ratio.push_back(warm / cold);
  }
  const std::string size = fmt::format("JPEG {}x{}", settings.width, settings.height);
  row("first token, text alone", median(text) * 1e3, "ms");
  row(size + ": first token, first question", median(first) * 1e3, "ms");
  row(size + ": first token, second question", median(second) * 1e3, "ms");
  row("second question / first question", median(ratio) * 100, "%", "<= 25");
  return {};
}

int run(int argc, char** argv) {
  Settings settings;
  CLI::App app("Time to the first token of answers about a picture.", "tutti-bench-first-token");
  app.add_option("--config", settings.config, "Directory with config.json");
  app.add_option("--text-files", settings.text_files, "Directory of the tokenizer that fits it");
  app.add_option("--threads", settings.threads, "CPU threads; 0: all cores");
  app.add_option("--pictures", settings.pictures, "How many")->check(CLI::Range(1, 100));
  app.add_option("--width", settings.width)->check(CLI::Range(1, 8000));
  app.add_option("--height", settings.height)->check(CLI::Range(1, 8000));
  CLI11_PARSE(app, argc, argv);
  const Status status = bench(settings);
  if (status.ok()) return 0;
  fmt::print(stderr, "tutti-bench-first-token: {}\n", status.message());
  return 1;
}

}  // namespace
}  // namespace tutti

int main(int argc, char** argv) { return tutti::run(argc, argv); }

#include "apps/bench_serve/prompts.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/strings.h"

namespace tutti::bench {

namespace json = boost::json;
namespace fs = std::filesystem;

namespace {

constexpr const char* kSubjects[] = {"boat", "train", "letter",  "garden",  "river",  "window",
                                     "song", "road",  "kitchen", "teacher", "winter", "market"};
constexpr const char* kEnds[] = {"is late this morning",       "was quiet all day",
                                 "looks small from the hill",  "belongs to my brother",
                                 "is better than the old one", "will be ready on Monday"};

LoadPrompt prompt_of(std::string text) {
  LoadPrompt prompt;
  prompt.text = std::move(text);
  return prompt;
}

bool is_chat(Backend backend) { return backend == Backend::kChat || backend == Backend::kChatOmni; }

std::optional<std::string> bytes_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || fs::is_directory(path)) return std::nullopt;
  std::ostringstream bytes;
  bytes << in.rdbuf();
  return std::move(bytes).str();
}

// Reads one line; errors are sentences without its place.
class Line {
 public:
  Line(const json::object& object, fs::path folder, Backend backend)
      : object_(object), folder_(std::move(folder)), backend_(backend) {}

  Result<LoadPrompt> read() const {
    for (const auto& field : object_) {
      const std::string name(field.key());
      const std::string near = nearest(name, kKnown);
      if (std::find(kKnown.begin(), kKnown.end(), name) != kKnown.end()) continue;
      return invalid_argument(
          fmt::format("`{}` is unknown; {}", name,
                      near.empty() ? "known are " + join(kKnown) : "did you mean `" + near + "`?"));
    }
    LoadPrompt prompt;
    TUTTI_RETURN_IF_ERROR(read_words(prompt));
    TUTTI_RETURN_IF_ERROR(read_sound(prompt));
    if (prompt.text.empty() && prompt.messages.empty() && prompt.sound.empty()) {
      return invalid_argument("it has neither `prompt` nor `messages`");
    }
    if (const json::value* tokens = object_.if_contains("output_tokens")) {
      const int64_t* count = tokens->if_int64();
      if (!count || *count < 1 || *count > 1 << 24) {
        return invalid_argument("`output_tokens` must be a whole number from 1 on");
      }
      prompt.output_tokens = static_cast<int32_t>(*count);
    }
    return prompt;
  }

 private:
  Status read_words(LoadPrompt& prompt) const {
    if (const json::value* text = object_.if_contains("prompt")) {
      if (!text->is_string()) return invalid_argument("`prompt` must be a string");
      prompt.text = text->get_string();
    }
    if (const json::value* messages = object_.if_contains("messages")) {
      if (!messages->is_array()) return invalid_argument("`messages` must be an array");
      if (!is_chat(backend_) || !prompt.text.empty()) {
        return invalid_argument(fmt::format(
            "`messages` is given; {}", is_chat(backend_)
                                           ? "`prompt` is given, too, and one of them is enough"
                                           : "only the backends for chat completions take it"));
      }
      prompt.messages = messages->get_array();
    }
    return {};
  }

  Status read_sound(LoadPrompt& prompt) const {
    const json::value* audio = object_.if_contains("audio");
    if (!audio) return {};
    if (!audio->is_string()) return invalid_argument("`audio` must be the path of a file");
    const bool takes_sound = is_chat(backend_) || backend_ == Backend::kRealtime;
    if (!takes_sound || !prompt.messages.empty()) {
      return invalid_argument(
          "`audio` is given; it goes with `prompt`, to the backends for chat completions and "
          "realtime");
    }
    const fs::path path = folder_ / std::string(audio->get_string());
    std::optional<std::string> bytes = bytes_of(path);
    if (!bytes) return invalid_argument(fmt::format("'{}' cannot be read", path.string()));
    prompt.sound = std::move(*bytes);
    prompt.sound_format = ascii_lower(path.extension().string());
    if (prompt.sound_format.starts_with('.')) prompt.sound_format.erase(0, 1);
    return {};
  }

  static inline const std::vector<std::string> kKnown{"prompt", "messages", "output_tokens",
                                                      "audio"};
  const json::object& object_;
  const fs::path folder_;
  const Backend backend_;
};

}  // namespace

const BackendInfo& backend_info(Backend backend) { return kBackends[static_cast<size_t>(backend)]; }

std::vector<LoadPrompt> builtin_prompts(Backend backend) {
  const bool bare = backend == Backend::kSpeech || backend == Backend::kCompletions;
  std::vector<LoadPrompt> prompts;
  for (const char* end : kEnds) {
    for (const char* subject : kSubjects) {
      const std::string sentence = fmt::format("The {} {}.", subject, end);
      prompts.push_back(prompt_of(bare ? sentence : "Say: " + sentence));
    }
  }
  return prompts;
}

Result<std::vector<LoadPrompt>> read_prompts(const std::string& path, Backend backend) {
  std::ifstream in(path);
  if (!in || fs::is_directory(path)) {
    return not_found(fmt::format("The dataset '{}' cannot be read.", path));
  }
  std::vector<LoadPrompt> prompts;
  int64_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    boost::system::error_code bad;
    const json::value value = json::parse(line, bad);
    Result<LoadPrompt> prompt = invalid_argument("it is no JSON object");
    if (!bad && value.is_object()) {
      prompt = Line(value.get_object(), fs::path(path).parent_path(), backend).read();
    }
    if (!prompt.ok()) {
      return invalid_argument(
          fmt::format("Line {} of '{}': {}.", number, path, prompt.error().message()));
    }
    prompts.push_back(std::move(*prompt));
  }
  if (prompts.empty()) return invalid_argument(fmt::format("'{}' has no prompts.", path));
  return prompts;
}

}  // namespace tutti::bench

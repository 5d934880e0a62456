// `tutti chat`: a conversation in the terminal, or over piped lines. Every line is a message, every
// answer's speech a WAV file.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "apps/tutti/answer.h"
#include "apps/tutti/command.h"
#include "apps/tutti/interrupt.h"
#include "apps/tutti/line_reader.h"
#include "apps/tutti/player.h"
#include "base/strings.h"

namespace tutti::cli {

namespace {

namespace fs = std::filesystem;

constexpr const char* kHelp =
    "Every line is a message; an empty one sends what is attached.\n"
    "/image PATH, /audio PATH, /video PATH   attach to the next message (again for more)\n"
    "/reset   forget the conversation        /help   this list        /quit   leave (or Ctrl-D)\n"
    "Ctrl-C stops a running answer; at the prompt it leaves.\n";

enum class Next { kGoOn, kLeave };

class Chat {
 public:
  Chat(AsyncOmniEngine& engine, const ChatFlags& flags, std::vector<int32_t> stages)
      : engine_(engine),
        flags_(flags),
        stages_(std::move(stages)),
        terminal_(isatty(STDIN_FILENO) == 1),
        player_(terminal_ && !flags.no_speech && !flags.no_play) {
    reset();
  }

  int run();

 private:
  void reset();
  void note(const std::string& sentence) const;
  Next command(const std::string& line);
  void attach(MediaKind kind, const std::string& path);
  void ask(const std::string& text);
  std::string next_file();

  AsyncOmniEngine& engine_;
  const ChatFlags& flags_;
  const std::vector<int32_t> stages_;
  const bool terminal_;
  Player player_;
  InterruptGuard interrupt_;
  std::vector<ChatMessage> history_;
  std::vector<MediaItem> attached_;
  int turns_ = 0;
  int files_ = 0;
  bool failed_ = false;
};

void Chat::reset() {
  history_.clear();
  attached_.clear();
  if (!flags_.system.empty()) history_.push_back(ChatMessage::text("system", flags_.system));
}

void Chat::note(const std::string& sentence) const {
  if (!flags_.quiet) std::fputs((sentence + "\n").c_str(), stderr);
}

void Chat::attach(MediaKind kind, const std::string& path) {
  if (path.empty()) {
    failed_ = true;
    std::fputs("error: a path must follow, as in '/image picture.png'\n", stderr);
    return;
  }
  attached_.push_back(MediaItem::file(kind, path));
  note(fmt::format("attached {}", path));
}

Next Chat::command(const std::string& line) {
  const size_t space = line.find(' ');
  const std::string word = line.substr(0, space);
  std::string rest = space == std::string::npos ? "" : line.substr(space + 1);
  rest.erase(0, rest.find_first_not_of(' '));
  rest.erase(rest.find_last_not_of(' ') + 1);
  if (word == "/quit") return Next::kLeave;
  if (word == "/image") {
    attach(MediaKind::kImage, rest);
  } else if (word == "/audio") {
    attach(MediaKind::kAudio, rest);
  } else if (word == "/video") {
    attach(MediaKind::kVideo, rest);
  } else if (word == "/reset") {
    reset();
    note("the conversation starts anew");
  } else if (word == "/help") {
    std::fputs(kHelp, stderr);
  } else {
    failed_ = true;
    const std::vector<std::string> known = {"/image", "/audio", "/video",
                                            "/reset", "/help",  "/quit"};
    const std::string near = nearest(word, known);
    std::fputs(fmt::format("error: unknown command '{}'; {}\n", word,
                           near.empty() ? "see /help" : fmt::format("did you mean '{}'?", near))
                   .c_str(),
               stderr);
  }
  return Next::kGoOn;
}

// Earlier chats' files stay: the first number that is free.
std::string Chat::next_file() {
  if (flags_.no_speech) return "";
  std::error_code error;
  std::string path;
  do {
    path = (fs::path(flags_.out_dir) / fmt::format("answer-{:03d}.wav", ++files_)).string();
  } while (fs::exists(path, error));
  return path;
}

void Chat::ask(const std::string& text) {
  player_.stop();
  ChatMessage user;
  user.role = "user";
  for (MediaItem& item : attached_) user.content.push_back({"", std::move(item)});
  attached_.clear();
  user.content.push_back({text, std::nullopt});
  ChatPrompt prompt;
  prompt.messages = history_;
  prompt.messages.push_back(user);
  prompt.use_audio_in_video = flags_.use_audio_in_video;
  const std::string file = next_file();
  const auto made = answer(
      engine_,
      make_request(engine_, flags_, fmt::format("chat-{}", ++turns_), std::move(prompt), stages_),
      file, interrupt_);
  interrupt_.reset();
  if (!made.ok()) {
    failed_ = true;
    report_error(made.error());
    return;
  }
  if (made->interrupted) note("stopped");
  // What was said before an interrupt was said; a turn without an answer is no turn.
  if (!made->text.empty()) {
    history_.push_back(std::move(user));
    history_.push_back(ChatMessage::text("assistant", made->text));
  }
  if (!flags_.quiet) print_figures(*made, file);
  if (made->audio_samples > 0 && !made->interrupted) player_.play(file);
}

int Chat::run() {
  LineReader lines;
  if (terminal_) note("Type a message, or /help.");
  while (true) {
    if (terminal_) {
      std::fputs("> ", stdout);
      std::fflush(stdout);
    }
    std::string line;
    const LineReader::Event event = lines.next(interrupt_, line);
    if (event != LineReader::Event::kLine) {
      if (terminal_) std::fputs("\n", stdout);
      if (event == LineReader::Event::kInterrupted) return kExitInterrupted;
      break;
    }
    if (line.starts_with('/')) {
      if (command(line) == Next::kLeave) break;
    } else if (!line.empty() || !attached_.empty()) {
      ask(line);
      if (!engine_.is_alive()) return kExitFailure;
    }
  }
  // A person has read the errors; a script has to be told.
  return failed_ && !terminal_ ? kExitFailure : kExitOk;
}

}  // namespace

int run_chat(const ChatFlags& flags) {
  if (const Status status = check_sampling(flags); !status.ok()) return report_error(status);
  if (!flags.no_speech) {
    std::error_code error;
    fs::create_directories(flags.out_dir, error);
    if (error || access(flags.out_dir.c_str(), W_OK) != 0) {
      return report_error(invalid_argument(
          fmt::format("cannot write to the directory '{}' of --out-dir: {}", flags.out_dir,
                      error ? error.message() : "permission denied")));
    }
  }
  auto engine = load_engine(flags);
  if (!engine.ok()) return report_error(engine.error());
  std::vector<std::string> wanted = {"text"};
  if (!flags.no_speech) wanted.push_back("audio");
  auto stages = wanted_stages(**engine, wanted);
  if (!stages.ok()) return report_error(stages.error());
  return Chat(**engine, flags, std::move(*stages)).run();
}

}  // namespace tutti::cli

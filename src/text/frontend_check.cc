#include "text/frontend_check.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "base/json_file.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace tutti::text {

namespace json = boost::json;
namespace fs = std::filesystem;

namespace {

// Counts into one file's result.
class Checker {
 public:
  explicit Checker(FrontendFile& file) : file_(file) {}

  void miss(std::string message) {
    ++file_.mismatches;
    if (file_.messages.size() < 10) file_.messages.push_back(std::move(message));
  }
  void compare(std::string_view row, std::string_view what, const json::value& expected,
               const json::value& found) {
    ++file_.values;
    if (found == expected) return;
    miss(fmt::format("{} of {}: found {}, expected {}.", what, row, json::serialize(found),
                     json::serialize(expected)));
  }
  // Compares with the row's field where the row has it.
  void compare_field(std::string_view row, const json::object& fields, std::string_view name,
                     const json::value& found) {
    if (const json::value* expected = fields.if_contains(name))
      compare(row, name, *expected, found);
  }

 private:
  FrontendFile& file_;
};

std::vector<int32_t> id_list(const json::object& row, std::string_view name) {
  std::vector<int32_t> ids;
  const json::value* list = row.if_contains(name);
  if (list == nullptr || !list->is_array()) return ids;
  for (const json::value& id : list->get_array()) {
    ids.push_back(id.is_int64() ? static_cast<int32_t>(id.get_int64()) : -1);
  }
  return ids;
}

json::value encoded(const Tokenizer& tokenizer, std::string_view text) {
  const Result<std::vector<int32_t>> ids = tokenizer.encode(text);
  if (!ids) return json::string(ids.error().message());
  return json::array(ids->begin(), ids->end());
}

void check_tokenizer_row(const Tokenizer& tokenizer, const json::object& row, Checker& checker) {
  const json::value* text = row.if_contains("text");
  if (text == nullptr || !text->is_string()) return checker.miss("A row has no 'text'.");
  const std::string name = json::serialize(*text);
  checker.compare_field(name, row, "ids", encoded(tokenizer, text->get_string()));
  const std::vector<int32_t> ids = id_list(row, "ids");
  checker.compare_field(name, row, "decoded", json::string(tokenizer.decode(ids)));
  checker.compare_field(name, row, "decoded_skip_special",
                        json::string(tokenizer.decode(ids, true)));
}

void check_chat_row(const ChatTemplate& chat_template, const Tokenizer& tokenizer,
                    const json::object& row, Checker& checker) {
  // All but what the row records about the reference is a variable of the template.
  json::object context{{"add_generation_prompt", true}};
  std::string name = "a row";
  for (const auto& entry : row) {
    if (entry.key() == "name") {
      name = json::serialize(entry.value());
    } else if (entry.key() != "rendered" && entry.key() != "rendered_by" && entry.key() != "ids") {
      context[entry.key()] = entry.value();
    }
  }
  const Result<std::string> rendered = chat_template.render(context);
  checker.compare_field(name, row, "rendered",
                        json::string(rendered.ok() ? *rendered : rendered.error().message()));
  if (rendered) checker.compare_field(name, row, "ids", encoded(tokenizer, *rendered));
}

// tokenizer_<family>.json names its checkpoint; chat_<family>.json belongs to the family's, which
// for a Diffusers pipeline has the tokenizer in a folder of its own.
fs::path checkpoint_of(const fs::path& dir, const std::string& family, const json::object& file) {
  const json::value* named = file.if_contains("tokenizer");
  if (named != nullptr && named->is_string()) return dir / std::string(named->get_string());
  const fs::path checkpoint = dir / ".." / family / "checkpoint";
  std::error_code error;
  return fs::is_directory(checkpoint / "tokenizer", error) ? checkpoint / "tokenizer" : checkpoint;
}

Status check_file(const fs::path& path, const std::string& family, bool chat,
                  FrontendFile& report) {
  TUTTI_ASSIGN_OR_RETURN(const json::object file, read_json_object(path));
  const fs::path checkpoint = checkpoint_of(path.parent_path(), family, file).lexically_normal();
  report.checkpoint = checkpoint.string();
  TUTTI_ASSIGN_OR_RETURN(const std::shared_ptr<const Tokenizer> tokenizer,
                         Tokenizer::load(checkpoint));
  std::shared_ptr<const ChatTemplate> chat_template;
  if (chat) {
    TUTTI_ASSIGN_OR_RETURN(chat_template, ChatTemplate::load(checkpoint));
  }
  TUTTI_ASSIGN_OR_RETURN(const json::array* rows, array_field(file, "rows", report.name));
  if (rows == nullptr || rows->empty())
    return invalid_argument(fmt::format("'{}' has no 'rows'.", path.string()));
  Checker checker(report);
  for (const json::value& row : *rows) {
    if (!row.is_object())
      return invalid_argument(fmt::format("'{}' has a row that is not an object.", path.string()));
    ++report.rows;
    if (chat) {
      check_chat_row(*chat_template, *tokenizer, row.get_object(), checker);
    } else {
      check_tokenizer_row(*tokenizer, row.get_object(), checker);
    }
  }
  return {};
}

}  // namespace

bool FrontendReport::passed() const {
  return !files.empty() && std::all_of(files.begin(), files.end(), [](const FrontendFile& file) {
    return file.mismatches == 0;
  });
}

Result<FrontendReport> check_frontend_text(const fs::path& dir) {
  std::error_code error;
  std::vector<fs::path> paths;
  for (const fs::directory_entry& entry : fs::directory_iterator(dir, error))
    paths.push_back(entry.path());
  if (error)
    return not_found(
        fmt::format("The directory '{}' cannot be listed: {}.", dir.string(), error.message()));
  std::sort(paths.begin(), paths.end());
  FrontendReport report;
  for (const fs::path& path : paths) {
    const std::string stem = path.stem().string();
    const bool chat = stem.starts_with("chat_");
    if (path.extension() != ".json" || !(chat || stem.starts_with("tokenizer_"))) continue;
    FrontendFile& file = report.files.emplace_back();
    file.name = path.filename().string();
    const Status status = check_file(path, stem.substr(stem.find('_') + 1), chat, file);
    if (!status.ok()) Checker(file).miss(status.message());
  }
  if (report.files.empty()) {
    return not_found(
        fmt::format("'{}' has neither tokenizer_*.json nor chat_*.json.", dir.string()));
  }
  return report;
}

}  // namespace tutti::text

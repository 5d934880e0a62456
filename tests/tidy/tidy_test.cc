// Style as a test: include layering, line length, stray output, leftovers, large files.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

// The ladder of docs/architecture.md: a room may include itself and those before it.
const std::vector<std::string> kLadder = {"base",    "tensor",       "backend", "ops",    "layers",
                                          "weights", "text",         "media",   "models", "engine",
                                          "stages",  "orchestrator", "serve",   "apps"};
// Rooms that may use less than the ladder allows: clients of the public API and of helpers.
const std::map<std::string, std::set<std::string>> kRestricted = {
    {"media", {"base", "tensor", "media"}},
    {"text", {"base", "text"}},
    {"serve", {"base", "text", "media", "serve"}},
};
constexpr size_t kLineLength = 100;
constexpr uintmax_t kLargestFileBytes = 2'000'000;

const fs::path kRoot = TUTTI_SOURCE_DIR;

std::vector<fs::path> files_under(const std::vector<std::string>& folders,
                                  const std::set<std::string>& extensions) {
  std::vector<fs::path> out;
  for (const std::string& folder : folders) {
    if (!fs::exists(kRoot / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / folder)) {
      if (entry.is_regular_file() && extensions.contains(entry.path().extension().string())) {
        out.push_back(entry.path());
      }
    }
  }
  return out;
}

std::vector<fs::path> code_files() {
  return files_under({"src", "include", "tests", "bench", "fuzz"}, {".h", ".cc", ".cu"});
}

std::vector<std::string> lines_of(const fs::path& path) {
  std::ifstream in(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string where(const fs::path& path, size_t line) {
  return fs::relative(path, kRoot).string() + ":" + std::to_string(line + 1);
}

// Room of a file under src/, or of an include path; empty when it is none.
std::string room_of(const std::string& path) { return path.substr(0, path.find('/')); }

size_t rank_of(const std::string& room) {
  return static_cast<size_t>(std::find(kLadder.begin(), kLadder.end(), room) - kLadder.begin());
}

TEST(Tidy, IncludesFollowTheLadder) {
  const std::regex include("^\\s*#include \"([^\"]+)\"");
  size_t edges = 0;
  for (const fs::path& path : files_under({"src"}, {".h", ".cc", ".cu"})) {
    const std::string room = room_of(fs::relative(path, kRoot / "src").string());
    ASSERT_LT(rank_of(room), kLadder.size()) << path << " is in a room the ladder does not name";
    const std::vector<std::string> lines = lines_of(path);
    for (size_t i = 0; i < lines.size(); ++i) {
      std::smatch match;
      if (!std::regex_search(lines[i], match, include)) continue;
      const std::string target = room_of(match[1].str());
      if (target == "tutti") continue;
      ++edges;
      const bool known = rank_of(target) < kLadder.size();
      EXPECT_TRUE(known) << where(path, i) << " includes " << match[1]
                         << ", which names no room (write the path from src/)";
      if (!known) continue;
      const auto restricted = kRestricted.find(room);
      const bool allowed = restricted != kRestricted.end() ? restricted->second.contains(target)
                                                           : rank_of(target) <= rank_of(room);
      EXPECT_TRUE(allowed) << where(path, i) << ": " << room << " may not include " << target;
    }
  }
  EXPECT_GT(edges, 50u) << "the test has found almost no includes: is it reading the sources?";
}

TEST(Tidy, OnlyTheRegistryNamesAModelFamily) {
  const std::regex family("#include \"models/([a-z0-9_]+)/");
  for (const fs::path& path : files_under({"src"}, {".h", ".cc", ".cu"})) {
    const std::string relative = fs::relative(path, kRoot / "src").string();
    const std::vector<std::string> lines = lines_of(path);
    for (size_t i = 0; i < lines.size(); ++i) {
      std::smatch match;
      if (!std::regex_search(lines[i], match, family)) continue;
      const bool inside = relative.starts_with("models/" + match[1].str() + "/");
      // The parity checker looks inside a family on purpose: it compares its inner tensors.
      const bool allowed =
          inside || relative == "models/registry.cc" || relative.starts_with("apps/parity");
      EXPECT_TRUE(allowed) << where(path, i) << " names the family " << match[1];
    }
  }
}

TEST(Tidy, PublicHeadersIncludeOnlyPublicHeaders) {
  const std::regex include("^\\s*#include \"([^\"]+)\"");
  for (const fs::path& path : files_under({"include"}, {".h"})) {
    const std::vector<std::string> lines = lines_of(path);
    for (size_t i = 0; i < lines.size(); ++i) {
      std::smatch match;
      if (!std::regex_search(lines[i], match, include)) continue;
      EXPECT_EQ(room_of(match[1].str()), "tutti") << where(path, i);
    }
  }
}

TEST(Tidy, LinesAreShortAndClean) {
  for (const fs::path& path : code_files()) {
    const std::vector<std::string> lines = lines_of(path);
    for (size_t i = 0; i < lines.size(); ++i) {
      EXPECT_LE(lines[i].size(), kLineLength) << where(path, i);
      EXPECT_FALSE(lines[i].ends_with(' ') || lines[i].ends_with('\t'))
          << where(path, i) << " ends with white space";
    }
  }
}

TEST(Tidy, NothingIsLeftForLater) {
  // Spelled apart so that this file does not find itself.
  const std::regex leftover(std::string("\\b(TO") + "DO|FIX" + "ME|X" + "XX|HA" + "CK)\\b");
  for (const fs::path& path : code_files()) {
    const std::vector<std::string> lines = lines_of(path);
    for (size_t i = 0; i < lines.size(); ++i) {
      EXPECT_FALSE(std::regex_search(lines[i], leftover)) << where(path, i);
    }
  }
}

TEST(Tidy, OnlyProgramsPrint) {
  const std::regex output("std::cout|std::cerr|\\bprintf\\(");
  const std::set<std::string> exempt = {"src/base/check.cc"};
  for (const fs::path& path : files_under({"src", "include"}, {".h", ".cc"})) {
    const std::string relative = fs::relative(path, kRoot).string();
    if (relative.starts_with("src/apps/") || exempt.contains(relative)) continue;
    if (relative.ends_with("_test.cc")) continue;
    const std::vector<std::string> lines = lines_of(path);
    for (size_t i = 0; i < lines.size(); ++i) {
      EXPECT_FALSE(std::regex_search(lines[i], output)) << where(path, i);
    }
  }
}

TEST(Tidy, HeadersBeginWithWhatTheyAre) {
  for (const fs::path& path : files_under({"src", "include"}, {".h"})) {
    const std::vector<std::string> lines = lines_of(path);
    ASSERT_FALSE(lines.empty()) << path;
    EXPECT_TRUE(lines[0].starts_with("// ")) << where(path, 0) << " should say what the file is";
    const bool once = std::find(lines.begin(), lines.end(), "#pragma once") != lines.end();
    EXPECT_TRUE(once) << where(path, 0) << " lacks #pragma once";
  }
}

// The text of every C++ block of a document.
std::vector<std::string> cpp_blocks(const fs::path& path) {
  std::vector<std::string> blocks;
  bool inside = false;
  for (const std::string& line : lines_of(path)) {
    if (line == "```cpp") {
      inside = true;
      blocks.emplace_back();
    } else if (line == "```") {
      inside = false;
    } else if (inside) {
      blocks.back() += line + "\n";
    }
  }
  return blocks;
}

TEST(Tidy, ExamplesInTheDocumentsAreFilesThatRun) {
  std::map<std::string, int> shown;
  for (const fs::path& path : files_under({"docs/examples"}, {".cc"})) {
    std::string text;
    for (const std::string& line : lines_of(path)) text += line + "\n";
    shown[text] = 0;
  }
  for (const char* document : {"README.md", "docs/api.md"}) {
    for (const std::string& block : cpp_blocks(kRoot / document)) {
      EXPECT_TRUE(shown.contains(block))
          << document << " has an example that is no file of docs/examples:\n"
          << block;
      ++shown[block];
    }
  }
  EXPECT_GE(shown.size(), 5u);
  for (const auto& [text, count] : shown) EXPECT_GT(count, 0) << "not shown anywhere:\n" << text;
}

TEST(Tidy, NoLargeFilesOutsideModelsAndTestData) {
  for (const auto& entry : fs::directory_iterator(kRoot)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(".") || name == "build" || name == "models") continue;
    if (!entry.is_directory()) continue;
    for (auto it = fs::recursive_directory_iterator(entry.path());
         it != fs::recursive_directory_iterator(); ++it) {
      if (it->path().filename() == "node_modules") it.disable_recursion_pending();
      if (it->is_regular_file()) {
        EXPECT_LE(it->file_size(), kLargestFileBytes) << it->path();
      }
    }
  }
  uintmax_t data_bytes = 0;
  if (fs::exists(kRoot / "tests/data")) {
    for (const auto& entry : fs::recursive_directory_iterator(kRoot / "tests/data")) {
      if (entry.is_regular_file()) data_bytes += entry.file_size();
    }
  }
  EXPECT_LE(data_bytes, 25'000'000u) << "tests/data has outgrown its limit";
}

}  // namespace

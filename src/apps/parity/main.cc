// tutti-parity: runs golden cases through the engine's models and compares every tensor.
//
//   tutti-parity FAMILY_DIR --media MEDIA_DIR [--dtype fp32|bf16] [--case NAME]
//   tutti-parity --frontend DIR        tokenizers, chat templates, mel, images
//
// Exit code: 0 all that was compared passed, 1 misses or failures, 2 usage.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cstdio>
#include <exception>

#include "apps/parity/frontend_media.h"
#include "apps/parity/qwen3_omni_moe.h"
#include "base/json_file.h"
#include "base/log.h"
#include "text/frontend_check.h"

namespace tutti::parity {
namespace {

int fail(const Status& status) {
  fmt::print(stderr, "tutti-parity: {}\n", status.message());
  return 1;
}

int finish(const Report& report) {
  fmt::print("{} passed, {} failed, {} not compared\n", report.passed(), report.failed(),
             report.not_compared());
  // A case that cannot be computed yet is listed, and is no miss.
  return report.failed() == 0 ? 0 : 1;
}

int check_family(const ParityOptions& options, Precision precision) {
  const auto config = read_json_object(options.dir / "checkpoint" / "config.json");
  if (!config.ok()) return fail(config.error());
  const boost::json::value* type = config->if_contains("model_type");
  const std::string model_type =
      type != nullptr && type->is_string() ? std::string(type->get_string()) : "";
  if (model_type != "qwen3_omni_moe") {
    return fail(invalid_argument("'" + options.dir.string() + "' is of the model type '" +
                                 model_type + "'; known is: qwen3_omni_moe."));
  }
  Report report(precision);
  const Status status = check_qwen3_omni_moe(options, report);
  if (!status.ok()) return fail(status);
  return finish(report);
}

int check_frontend(const std::filesystem::path& dir) {
  const auto report = text::check_frontend_text(dir);
  if (!report.ok()) return fail(report.error());
  size_t mismatches = 0;
  for (const text::FrontendFile& file : report->files) {
    fmt::print("  {}  {:<40} {} rows, {} values, {} differ\n",
               file.mismatches == 0 ? "pass" : "FAIL", file.name, file.rows, file.values,
               file.mismatches);
    for (const std::string& message : file.messages) fmt::print("        {}\n", message);
    mismatches += file.mismatches;
  }
  fmt::print("{} files compared, {} values differ\n", report->files.size(), mismatches);
  const bool media_passed = check_frontend_media_files(dir);
  return report->passed() && media_passed ? 0 : 1;
}

int run(int argc, char** argv) {
  CLI::App app("Compares what Tutti computes with stored reference tensors.", "tutti-parity");
  ParityOptions options;
  std::string dtype = "fp32";
  app.add_option("FAMILY_DIR", options.dir, "Folder with checkpoint/ and one folder per case");
  app.add_option("--media", options.media, "Folder of the media files that cases name");
  app.add_option("--dtype", dtype, "Weights in memory")->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_option("--case", options.only_case, "Run this case alone");
  std::filesystem::path frontend;
  app.add_option("--frontend", frontend,
                 "Folder of tokenizer, template, sound and picture goldens");
  app.add_option("--threads", options.num_threads, "CPU threads; 0: all cores");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (options.dir.empty() && frontend.empty()) {
    fmt::print(stderr, "tutti-parity: expected FAMILY_DIR or --frontend DIR; see --help.\n");
    return 2;
  }
  int code = 0;
  if (!frontend.empty()) code = check_frontend(frontend);
  if (options.dir.empty()) return code;
  const int family = check_family(options, dtype == "fp32" ? Precision::kF32 : Precision::kBF16);
  return code != 0 ? code : family;
}

}  // namespace
}  // namespace tutti::parity

int main(int argc, char** argv) {
  tutti::init_logging();
  try {
    return tutti::parity::run(argc, argv);
  } catch (const std::exception& error) {  // a golden file that is not what it should be
    fmt::print(stderr, "tutti-parity: {}\n", error.what());
    return 1;
  }
}

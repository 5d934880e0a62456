// tutti-bench-load: how fast a checkpoint is mapped, and what memory that takes. Writes a thinker's
// checkpoint of a config's shapes to a temporary directory and loads it in a fresh process.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/log.h"
#include "models/pipeline.h"
#include "models/qwen3_omni_moe/config.h"
#include "models/qwen3_omni_moe/thinker.h"
#include "weights/weight_loader.h"

namespace tutti {
namespace {

namespace fs = std::filesystem;

// Notes what a network asks for and hands out memory that is never touched.
class NotingLoader final : public WeightLoader {
 public:
  bool has(const std::string&) const override { return true; }
  DType matrix_dtype(const std::string&) const override { return DType::kBF16; }
  Status finish() override { return {}; }
  const std::vector<std::pair<std::string, Shape>>& tensors() const { return tensors_; }

 private:
  Tensor do_get(const std::string& name, const Shape& shape, bool now_as_f32) override {
    tensors_.emplace_back(name, shape);
    return Tensor::empty(shape, now_as_f32 ? DType::kF32 : DType::kBF16);
  }
  std::vector<std::pair<std::string, Shape>> tensors_;
};

Status write_checkpoint(const fs::path& config, const fs::path& dir) {
  TUTTI_ASSIGN_OR_RETURN(const auto parsed, qwen3_omni_moe::read_config(config));
  NotingLoader loader;
  (void)qwen3_omni_moe::Thinker::load(loader, parsed.thinker);
  boost::json::object header;
  size_t offset = 0;
  for (const auto& [name, shape] : loader.tensors()) {
    const size_t bytes = static_cast<size_t>(shape.num_elements()) * dtype_bytes(DType::kBF16);
    boost::json::array dims;
    for (const int64_t d : shape.dims()) dims.push_back(d);
    header[name] = {{"dtype", "BF16"}, {"shape", dims}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = boost::json::serialize(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::ofstream out(dir / "model.safetensors", std::ios::binary);
  const uint64_t length = text.size();
  out.write(reinterpret_cast<const char*>(&length), sizeof(length));
  out << text;
  const std::vector<char> block(size_t{1} << 22, 0x3c);
  for (size_t written = 0; written < offset; written += block.size()) {
    out.write(block.data(), static_cast<std::streamsize>(std::min(block.size(), offset - written)));
  }
  std::error_code error;
  fs::copy_file(config / "config.json", dir / "config.json", error);
  return out.good() && !error ? Status() : internal_error("cannot write to " + dir.string());
}

int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0;
  int64_t resident = 0;
  statm >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

Status measure(const fs::path& dir) {
  LoadOptions options;
  options.model_dir = dir;
  TUTTI_ASSIGN_OR_RETURN(const auto pipeline, open_pipeline(options));
  const int64_t before = resident_bytes();
  const auto start = std::chrono::steady_clock::now();
  TUTTI_ASSIGN_OR_RETURN(const auto model, pipeline->load_ar(0, options));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto grown = static_cast<double>(resident_bytes() - before);
  const auto weights = static_cast<double>(fs::file_size(dir / "model.safetensors"));
  fmt::print("weights                     {:8.2f} GB\n", weights / 1e9);
  fmt::print("load                        {:8.2f} s   {:.1f} GB/s (file in the page cache)\n",
             seconds, weights / seconds / 1e9);
  fmt::print("resident memory / weights   {:8.2f}     (allowed 1.10)\n", grown / weights);
  return {};
}

int report(const Status& status) {
  if (status.ok()) return 0;
  fmt::print(stderr, "error: {}\n", status.message());
  return 1;
}

// A fresh process: its resident memory is the load's alone.
int measure_in_child(const char* program, const fs::path& dir) {
  const pid_t child = fork();
  if (child == 0) {
    execl(program, program, "--measure", dir.c_str(), nullptr);
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int run(int argc, char** argv) {
  init_logging();
  CLI::App app("Loading a checkpoint: seconds, GB/s, resident memory");
  std::string config = TUTTI_SOURCE_DIR "/bench/configs/dense-0.6b";
  std::string measured;
  app.add_option("--config", config, "Directory with the config.json whose shapes are taken");
  app.add_option("--measure", measured, "Load this directory, and write nothing");
  CLI11_PARSE(app, argc, argv);
  if (!measured.empty()) return report(measure(measured));
  const fs::path dir = fs::temp_directory_path() / fmt::format("tutti_bench_load_{}", getpid());
  fs::create_directories(dir);
  int code = report(write_checkpoint(config, dir));
  if (code == 0) code = measure_in_child("/proc/self/exe", dir);
  fs::remove_all(dir);
  return code;
}

}  // namespace
}  // namespace tutti

int main(int argc, char** argv) { return tutti::run(argc, argv); }

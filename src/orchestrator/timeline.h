// Timeline: what became of requests: totals, and for each that ended spans of its queueing,
// computing and transfer in every stage, for the trace file and for OpenTelemetry.
//
// Thread: any; on_message() from the orchestrator's, in the order of the messages. Without trace
// file and collector a message costs a branch, a terminal one an atomic increment.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/trace_recorder.h"
#include "orchestrator/messages.h"
#include "orchestrator/otlp_exporter.h"
#include "orchestrator/trace_context.h"
#include "stages/stage_graph.h"

namespace tutti {

class Timeline {
 public:
  struct Options {
    std::string model;
    TimePoint epoch;
    std::string trace_out;  // empty: no file
    size_t trace_events = 0;
    std::string otlp_endpoint;  // empty: no collector
  };
  // Whether create() can take them; writes nothing. Errors name the option.
  static Status check(const std::string& trace_out, const std::string& otlp_endpoint);
  // Errors: those of check().
  static Result<std::unique_ptr<Timeline>> create(std::shared_ptr<const StageGraph> graph,
                                                  Options options);

  void accepted(const AcceptedRequest& request);
  void not_accepted(RequestKey key);
  // A further segment of the request, as its caller typed it.
  void updated(RequestKey key, std::string_view prompt_text);
  void on_message(RequestKey key, const EngineMessage& message);
  void on_retry(RequestKey key);
  // Writes the trace file.
  Status finish();

  int64_t num_accepted() const { return accepted_.load(); }
  int64_t num_finished() const { return finished_.load(); }
  int64_t num_aborted() const { return aborted_.load(); }
  int64_t num_failed() const { return failed_.load(); }
  int64_t num_retried() const { return retried_.load(); }
  int64_t spans_exported() const { return exporter_ ? exporter_->exported() : 0; }
  int64_t spans_dropped() const { return exporter_ ? exporter_->dropped() : 0; }
  TraceRecorder& recorder() { return recorder_; }
  // Requests whose end is awaited.
  size_t size() const;

 private:
  // Of one request; a session has one for every segment and stage.
  static constexpr size_t kMostStageRecords = 1024;
  static constexpr size_t kMostPromptText = 1024;
  struct StageRecord {
    int32_t replica = 0;
    StageMetrics metrics;
    double sent_s = 0;  // when the orchestrator gave it the request or segment
    FinishReason finish_reason = FinishReason::kNone;
  };
  struct Record {
    std::string request_id;
    std::string prompt_text;  // of all segments, its first kMostPromptText bytes
    TraceContext context;
    double arrival_s = 0;
    // By stage and the time when it got the segment.
    std::map<std::pair<int32_t, double>, StageRecord> stages;
    std::vector<SamplingParams> sampling_params;
    Status error;
  };

  Timeline(std::shared_ptr<const StageGraph> graph, Options options,
           std::unique_ptr<OtlpExporter> exporter);
  static void add_prompt_text(Record& record, std::string_view text);
  bool records() const { return exporter_ != nullptr || recorder_.enabled(); }
  void ended(RequestKey key, Record record);
  void draw(RequestKey key, const Record& record, double end_s);
  void send_spans(const Record& record, double end_s);
  int64_t unix_ns(double engine_s) const;

  const std::shared_ptr<const StageGraph> graph_;
  const Options options_;
  const std::unique_ptr<OtlpExporter> exporter_;
  const double unix_offset_s_;  // of the epoch
  TraceRecorder recorder_;
  std::atomic<int64_t> accepted_{0};
  std::atomic<int64_t> finished_{0};
  std::atomic<int64_t> aborted_{0};
  std::atomic<int64_t> failed_{0};
  std::atomic<int64_t> retried_{0};
  mutable std::mutex mutex_;
  std::unordered_map<RequestKey, Record> open_;  // guarded by mutex_
};

}  // namespace tutti

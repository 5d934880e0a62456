// Metrics: what /metrics says: counters and histograms of finished requests, by vLLM's names where
// it has them, and the engine's own figures at the moment of asking.
//
// Thread: any.
#pragma once

#include <memory>
#include <string>

#include "serve/answer.h"

namespace tutti::serve {

class Metrics {
 public:
  explicit Metrics(const ModelInfo& model);
  ~Metrics();

  // A request has ended; `outcome`: "stop", "length", "abort", "error".
  void count(const Answer& answer, const std::string& outcome);
  // The request of this answer has produced tokens or sound; for rates while requests run.
  void count_output(const OutputMessage& message, Answer& answer);
  // Prometheus text format.
  std::string text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tutti::serve

#include "stages/edge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "stages/testing/fake_stage_engine.h"

namespace tutti {
namespace {

using fake::fake_spec;
using testing::ElementsAre;
using testing::HasSubstr;

StagePayload payload(std::vector<int32_t> ids, std::vector<float> rows) {
  StagePayload out;
  out.token_ids = std::move(ids);
  const auto count = static_cast<int64_t>(rows.size()) / 2;
  if (!rows.empty()) out.tensors["hidden"] = Tensor::from_vector(rows, {count, 2});
  return out;
}

TEST(Edge, JoinsIdsAndRowsInOrder) {
  std::vector<StagePayload> parts;
  parts.push_back(payload({1, 2}, {1, 2, 3, 4}));
  parts.push_back(payload({}, {}));
  parts.push_back(payload({3}, {5, 6}));
  const StagePayload joined = concatenate(std::move(parts)).value();
  EXPECT_THAT(joined.token_ids, ElementsAre(1, 2, 3));
  const Tensor& hidden = joined.tensors.at("hidden");
  ASSERT_EQ(hidden.shape(), (Shape{3, 2}));
  EXPECT_THAT(std::vector<float>(hidden.data<float>(), hidden.data<float>() + 6),
              ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(Edge, JoinsStridedViews) {
  const Tensor wide = Tensor::from_vector(std::vector<float>{1, 2, 9, 3, 4, 9}, {2, 3});
  std::vector<StagePayload> parts(2);
  parts[0].tensors["hidden"] = wide.columns(0, 2);
  parts[1].tensors["hidden"] = wide.columns(1, 3);
  const StagePayload joined = concatenate(std::move(parts)).value();
  const float* data = joined.tensors.at("hidden").data<float>();
  EXPECT_THAT(std::vector<float>(data, data + 8), ElementsAre(1, 2, 3, 4, 2, 9, 4, 9));
}

TEST(Edge, OnePartIsHandedOverWithoutACopy) {
  std::vector<StagePayload> parts;
  parts.push_back(payload({}, {1, 2}));
  const void* data = parts[0].tensors["hidden"].raw_data();
  EXPECT_EQ(concatenate(std::move(parts)).value().tensors.at("hidden").raw_data(), data);
}

TEST(Edge, RefusesPartsThatDoNotFit) {
  std::vector<StagePayload> parts(2);
  parts[0].tensors["hidden"] = Tensor::zeros({1, 2});
  parts[1].tensors["hidden"] = Tensor::zeros({1, 3});
  const auto joined = concatenate(std::move(parts));
  ASSERT_FALSE(joined);
  EXPECT_THAT(joined.error().message(), HasSubstr("'hidden'"));
}

TEST(Edge, ProcessorSeesTheJoinedChunksOfEachSource) {
  auto specs = std::vector{fake_spec("a", {}), fake_spec("b", {}), fake_spec("c", {1, 0}, "text")};
  std::vector<std::string> calls;
  specs[2].input_processor = [&](const EdgeContext& edge, StagePayload in, bool last) {
    calls.push_back(std::to_string(edge.from_stage) + (last ? " last" : ""));
    for (int32_t& id : in.token_ids) id += 100 * (edge.from_stage + 1);
    return Result<StagePayload>(std::move(in));
  };
  const StageGraph graph = StageGraph::build(specs).value();
  std::vector<UpstreamChunk> chunks;
  chunks.push_back({0, payload({1}, {}), false});
  chunks.push_back({1, payload({2}, {}), false});
  chunks.push_back({0, payload({3}, {}), true});
  const StagePayload in = process_edge(graph, 2, std::move(chunks)).value();
  EXPECT_THAT(calls, ElementsAre("1", "0 last"));
  EXPECT_THAT(in.token_ids, ElementsAre(202, 101, 103));
}

TEST(Edge, CompanionsGoThroughTheProcessorApartAndKeepTheirNames) {
  auto specs = std::vector{fake_spec("encoder", {}), fake_spec("diffusion", {0}, "image")};
  std::vector<std::string> calls;
  specs[1].input_processor = [&](const EdgeContext&, StagePayload in, bool last) {
    calls.push_back(std::to_string(in.token_ids.size()) + (last ? " last" : ""));
    for (int32_t& id : in.token_ids) id += 100;
    return Result<StagePayload>(std::move(in));
  };
  const StageGraph graph = StageGraph::build(specs).value();
  std::vector<UpstreamChunk> chunks;
  chunks.push_back({0, payload({7}, {1, 2}), false, "negative"});
  chunks.push_back({0, payload({1, 2}, {3, 4, 5, 6}), true});
  chunks.push_back({0, payload({8, 9}, {7, 8}), true, "negative"});
  const StagePayload in = process_edge(graph, 1, std::move(chunks)).value();
  EXPECT_THAT(calls, ElementsAre("2 last", "3 last"));
  EXPECT_THAT(in.token_ids, ElementsAre(101, 102));
  EXPECT_EQ(in.tensors.at("hidden").shape(), (Shape{2, 2}));
  const Tensor& rows = in.tensors.at("negative/hidden");
  ASSERT_EQ(rows.shape(), (Shape{2, 2}));
  EXPECT_THAT(std::vector<float>(rows.data<float>(), rows.data<float>() + 4),
              ElementsAre(1, 2, 7, 8));
  const Tensor& ids = in.tensors.at("negative/token_ids");
  EXPECT_THAT(std::vector<int32_t>(ids.data<int32_t>(), ids.data<int32_t>() + ids.num_elements()),
              ElementsAre(107, 108, 109));
}

TEST(Edge, WhatAProcessorThrowsIsAnError) {
  auto specs = fake::omni_specs();
  specs[1].input_processor = [](const EdgeContext&, StagePayload, bool) -> Result<StagePayload> {
    throw std::runtime_error("no such layer");
  };
  const StageGraph graph = StageGraph::build(specs).value();
  std::vector<UpstreamChunk> chunks;
  chunks.push_back({0, payload({1}, {}), false});
  const auto in = process_edge(graph, 1, std::move(chunks));
  ASSERT_FALSE(in);
  EXPECT_THAT(in.error().message(), HasSubstr("stage 1 (talker)"));
  EXPECT_THAT(in.error().message(), HasSubstr("no such layer"));
}

}  // namespace
}  // namespace tutti

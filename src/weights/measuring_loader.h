// MeasuringLoader: what a network's weights take in memory, from the headers of its checkpoint
// alone. A network is built with it as with any loader and gets no tensors.
//
// Thread: one. Tensors that the checkpoint lacks count as if they were there: loading reports them.
#pragma once

#include "weights/weight_loader.h"

namespace tutti {

class MeasuringLoader final : public WeightLoader {
 public:
  // checkpoint null: the weights will be drawn (make_dummy_loader).
  MeasuringLoader(std::shared_ptr<const Checkpoint> checkpoint, std::optional<DType> dtype)
      : checkpoint_(std::move(checkpoint)), dtype_(dtype) {}

  bool has(const std::string& name) const override;
  DType matrix_dtype(const std::string& name) const override;
  Status finish() override { return {}; }

  // Of tensors that stay in the file's pages: one copy serves all processes of a host.
  size_t mapped_bytes() const { return mapped_bytes_; }
  // Of converted, repacked or drawn tensors.
  size_t copied_bytes() const { return copied_bytes_; }

 private:
  Tensor do_get(const std::string& name, const Shape& shape, bool now_as_f32) override;

  std::shared_ptr<const Checkpoint> checkpoint_;
  std::optional<DType> dtype_;
  size_t mapped_bytes_ = 0;
  size_t copied_bytes_ = 0;
};

}  // namespace tutti

#include "optim/rules/adamw.h"

#include "core/base/check.h"
#include "core/ops/kernel_table.h"

namespace blockstep {

std::vector<StateSpec> AdamW::States(const TensorInfo&) const {
  return {{.name = "m"}, {.name = "v"}};
}

void AdamW::Update(const KernelTable& kernels, Stream& stream, const UpdateArgs& args) const {
  CHECK_EQ(args.states.size(), 2u);
  const bool decays = args.decay || hyper_.decay_on == DecayOn::kAll;
  kernels.adamw(stream, {.param = args.param,
                         .grad = args.grad,
                         .m = args.states[0],
                         .v = args.states[1],
                         .lr = args.lr,
                         .beta1 = static_cast<float>(hyper_.beta1),
                         .beta2 = static_cast<float>(hyper_.beta2),
                         .eps = static_cast<float>(hyper_.eps),
                         .weight_decay = decays ? static_cast<float>(hyper_.weight_decay) : 0,
                         .step = args.step,
                         .grad_scale = args.grad_scale});
}

void AdamW::MeasureDirection(const KernelTable& kernels, Stream& stream, const UpdateArgs& args,
                             ExactSum* sum) const {
  CHECK_EQ(args.states.size(), 2u);
  kernels.adam_norm(stream, {.m = args.states[0],
                             .v = args.states[1],
                             .beta1 = static_cast<float>(hyper_.beta1),
                             .beta2 = static_cast<float>(hyper_.beta2),
                             .eps = static_cast<float>(hyper_.eps),
                             .step = args.step,
                             .sum = sum});
}

}  // namespace blockstep

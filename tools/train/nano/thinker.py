"""The thinker: text decoder with audio and vision towers."""
import torch
import torch.nn as nn

from .encoders import AudioTower, VisionTower
from .layers import MLP, Block, MoE, RMSNorm, Stack, init_weights, mrope


class Thinker(nn.Module):
    def __init__(self, c):
        super().__init__()
        t = c["text_config"]
        width, layers = t["hidden_size"], t["num_hidden_layers"]
        self.head_dim = t["head_dim"]
        self.section = t["rope_parameters"]["mrope_section"]
        self.theta = t["rope_parameters"]["rope_theta"]
        self.audio_tower = AudioTower(c["audio_config"])
        self.visual = VisionTower(c["vision_config"])
        self.model = Stack()
        self.model.embed_tokens = nn.Embedding(t["vocab_size"], width)
        blocks = []
        for i in range(layers):
            sparse = i not in t["mlp_only_layers"] and (i + 1) % t["decoder_sparse_step"] == 0
            mlp = (MoE(width, t["num_experts"], t["num_experts_per_tok"],
                       t["moe_intermediate_size"], 0, t["norm_topk_prob"]) if sparse
                   else MLP(width, t["intermediate_size"]))
            blocks.append(Block(width, t["num_attention_heads"], t["num_key_value_heads"],
                                t["head_dim"], mlp))
        self.model.layers = nn.ModuleList(blocks)
        self.model.norm = RMSNorm(width)
        self.lm_head = nn.Linear(width, t["vocab_size"], bias=False)
        init_weights(self.model, layers)
        nn.init.normal_(self.lm_head.weight, 0, 0.04)

    def rope(self, positions):
        """positions [3, B, L] -> cos, sin"""
        return mrope(positions, self.head_dim, self.section, self.theta)

    def backbone(self, x, cos, sin, mask=None, deep=(), caches=None):
        """x [B, L, width]; deep: deepstack features as [B, L, width], zero off image tokens, each
        added after one of the first layers -> hidden states after the final norm"""
        for i, layer in enumerate(self.model.layers):
            x = layer(x, cos, sin, mask, caches[i] if caches else None)
            if i < len(deep):
                x = x + deep[i]
        return self.model.norm(x)

    def balance(self):
        """Load-balancing loss of the last forward pass."""
        parts = [b.mlp.balance for b in self.model.layers if isinstance(b.mlp, MoE)]
        return torch.stack(parts).mean()

// Names of fields in the configs of other libraries (Hugging Face, PyTorch, xFormers, JAX), by the name of the field here.

const otherNames: Readonly<Record<string, string>> = {
  heads: 'num_heads n_heads n_head nhead num_attention_heads',
  kvHeads: 'num_kv_heads n_kv_heads num_key_value_heads',
  headDim: 'd_head dim_head head_size d_kv',
  dim: 'hidden_size d_model dim_model model_dim n_embd embed_dim embedding_size',
  hidden: 'intermediate_size d_ff dim_feedforward ffn_dim n_inner',
  memoryDim: 'kdim cross_attention_dim',
  depth: 'num_layers n_layers n_layer num_hidden_layers',
  seqLen: 'max_position_embeddings n_positions n_ctx context_length max_seq_len max_seq_length block_size',
  vocabSize: 'n_vocab',
  classes: 'num_labels num_classes',
  eps: 'layer_norm_eps layer_norm_epsilon rms_norm_eps norm_eps epsilon',
  dropout: 'dropout_p attn_pdrop resid_pdrop embd_pdrop attention_dropout hidden_dropout_prob attention_probs_dropout_prob',
  activation: 'hidden_act activation_function',
  bias: 'use_bias qkv_bias',
  causal: 'is_causal',
  window: 'window_size sliding_window',
  softcap: 'attn_logit_softcapping logit_softcap',
  scale: 'sm_scale softmax_scale',
  theta: 'rope_theta rotary_base',
  tied: 'tie_word_embeddings',
  landmarks: 'num_landmarks',
};

const plain = (name: string): string => name.toLowerCase().replaceAll('_', '');
const byOtherName: ReadonlyMap<string, string> = new Map(
  Object.entries(otherNames).flatMap(([ours, names]) => names.split(' ').map((name) => [plain(name), ours])),
);

/** The field that other libraries call so, in snake case or camel case; undefined for a name that none of them uses. */
export const fieldCalled = (name: string): string | undefined => byOtherName.get(plain(name));

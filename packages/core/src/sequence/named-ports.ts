// Names of inputs and outputs with a default role, each with its documentation for editors.

/** Inputs with well-known names. T is the type of an entry: an input type, a tensor, a value. */
export interface NamedInputs<T> {
  /** Token ids, int64 [batch, seq]; packed [tokens]. Each is at least 0 and below the size of its table. */
  readonly ids: T;
  /** An image, float [batch, channels, height, width]. */
  readonly pixels: T;
  /** Input features of an embedding, other than ids and pixels, float [batch, seq, channels]. */
  readonly features: T;
  /** Embeddings or hidden states, float [batch, seq, dim]; packed [tokens, dim]. */
  readonly x: T;
  /** Queries of an attention by itself, float [batch, heads, seq, head_dim]. */
  readonly q: T;
  /** Keys of an attention by itself, float [batch, kv_heads, kv_seq, head_dim]. */
  readonly k: T;
  /** Values of an attention by itself, float [batch, kv_heads, kv_seq, v_head_dim]. */
  readonly v: T;
  /** Lengths: real positions of each sequence, int64 [batch]; the rest is padding on the right. In a packed batch they determine the sequences. */
  readonly lengths: T;
  /** Key padding, bool, int64 or int32 [batch, kv_seq]: 0 for padding, on either side. With 4 axes, bool: pairs that may attend. */
  readonly attention_mask: T;
  /** Attention bias: added to every score, float [batch or 1, heads or 1, seq, kv_seq]. It hides nothing. */
  readonly attention_bias: T;
  /** Positions of the tokens, int64 [batch, seq]; packed [tokens]. Absent: 0, 1, 2, … over the real tokens. */
  readonly position_ids: T;
  /** Segment of each token, int64 [batch, seq]; packed [tokens]. */
  readonly token_type_ids: T;
  /** What cross attention attends to, float [batch, memory_seq, dim]; packed [memory_tokens, dim]. */
  readonly memory: T;
  /** Real positions of each memory, int64 [batch]; the rest is padding on the right. */
  readonly memory_lengths: T;
  /** Key padding of the memory, bool, int64 or int32 [batch, memory_seq]: 0 for padding. */
  readonly memory_mask: T;
  /** Token ids of the decoder, int64 [batch, decoder_seq]. */
  readonly decoder_ids: T;
  /** Embeddings of the decoder, float [batch, decoder_seq, dim]. */
  readonly decoder_x: T;
  /** Lengths of the decoder's sequences, int64 [batch]. */
  readonly decoder_lengths: T;
  /** Key padding of the decoder, bool, int64 or int32 [batch, decoder_seq]: 0 for padding. */
  readonly decoder_attention_mask: T;
  /** Factor of the keys and values of each position, float [batch, seq]; read by layers that are `input_masked`. */
  readonly input_mask: T;
  /** Cached positions of each sequence before this call, int64 [batch]. */
  readonly past_lengths: T;
}

/** Outputs with well-known names. T is the type of an entry: a tensor, a value. */
export interface NamedOutputs<T> {
  /** Result of a block by itself. */
  readonly y: T;
  /** Hidden states after the last layer and norm, float [batch, seq, dim]; packed [tokens, dim]. */
  readonly hidden_states: T;
  /** Logits: scores of each token of the vocabulary or of each class, before any softmax, float [batch, seq, vocab] or [batch, classes]. */
  readonly logits: T;
  /** Logits of the head on the class token, float [batch, classes]. */
  readonly cls_logits: T;
  /** Logits of the head on the distillation token, float [batch, classes]. */
  readonly distillation_logits: T;
  /** Similarity of each image to each text, float [images, texts]. */
  readonly logits_per_image: T;
  /** Similarity of each text to each image, float [texts, images]. */
  readonly logits_per_text: T;
  /** Pooled vectors of the texts, of length 1, float [texts, dim]. */
  readonly text_embeds: T;
  /** Pooled vectors of the images, of length 1, float [images, dim]. */
  readonly image_embeds: T;
  /** Logits of each position as the start of an answer, float [batch, seq]. */
  readonly start_logits: T;
  /** Logits of each position as the end of an answer, float [batch, seq]. */
  readonly end_logits: T;
  /** A vector for each sequence, float [batch, dim]. */
  readonly pooler_output: T;
  /** Queries, rotated by their positions, float [batch, heads, seq, head_dim]. */
  readonly q_rotated: T;
  /** Keys, rotated by their positions, float [batch, kv_heads, kv_seq, head_dim]. */
  readonly k_rotated: T;
}

type Known<Names, N> = N & keyof Names;

/** A record of inputs by name; well-known ones are documented. Any name if names are not known. */
export type InputsByName<N extends string, T> = string extends N
  ? Partial<NamedInputs<T>> & Readonly<Record<string, T>>
  : Pick<NamedInputs<T>, Known<NamedInputs<T>, N>> & { readonly [K in Exclude<N, keyof NamedInputs<T>>]: T };

/** A record of outputs by name; well-known ones are documented. Any name if names are not known. */
export type OutputsByName<N extends string, T> = string extends N
  ? Record<N, T>
  : Pick<NamedOutputs<T>, Known<NamedOutputs<T>, N>> & { readonly [K in Exclude<N, keyof NamedOutputs<T>>]: T };

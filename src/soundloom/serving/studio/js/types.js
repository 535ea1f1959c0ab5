/**
 * The shapes of the server's answers, and of the page's state.
 *
 * @typedef {{id: string, bytes: number, rate: number, channels: number, samples: number, seconds: number,
 *   subtype: string, name: string, missing: boolean}} Audio
 * @typedef {{id: string, title: string, prompt: string, kind: string, parent: string | null, favorite: boolean,
 *   note: string, tags: string[], made: number, deleted: number | null, file: string | null, audio: Audio, record: Record<string, any>}} Take
 * @typedef {{number: number, state: string, seed: number | null, take: string | null,
 *   error: {type: string, message: string, hint: string} | null}} Item
 * @typedef {{stage?: string, step?: number, steps?: number, fraction?: number, seconds_left?: number,
 *   stalled?: boolean}} Progress
 * @typedef {{id: string, kind: string, model: string, state: string, reason: string | null, attempt: number,
 *   class: string, client: string, created: number, started: number | null, ended: number | null,
 *   request: Record<string, any>, source: string | null, items: Item[], progress: Progress | null}} Job
 * @typedef {{model: string, action: string, state: string, done: number, total: number,
 *   result: Record<string, any>}} Task
 * @typedef {{id: string, license: string, installed: boolean, bytes: number | null, removable: number,
 *   memory: number | null, max_seconds: number | null, default_seconds?: number, kind?: string, loaded: boolean, task: Task | null, modes: string[],
 *   music: boolean, distilled: boolean | null, guidance: number, steps: number | null, sampler: string | null, rate: number,
 *   channels: number, min_seconds: number, pass_seconds: number, tokens: number | null, sounds: string[],
 *   templates: string[], instruments: string[]}} Model
 * @typedef {{name: string, sha256: string, type: string, rank: number, fits: string[], trigger: string | null,
 *   strength: number | null, notices: string[], error: string | null}} Lora
 * @typedef {{tokens: number | null, limit: number | null, unread: string | null, unknown: string[], names_sound: boolean,
 *   bpm: number | null, key: string | null, understood: string | null, trained: boolean, problem: string | null}} Reading
 * @typedef {{model: string, random: string, sounds: {name: string, prompt: string}[],
 *   templates: {name: string, start: string, keys: string[]}[]}} Prompts
 * @typedef {{command: string, python: string, job: Record<string, any>}} Recipe
 * @typedef {{version: string, user: string | null, model: string, paused: boolean, lora_uploads: boolean,
 *   waiting: {jobs: number, clips: number}, devices: Record<string, any>[], disk: {free: number, total: number, used: number},
 *   output: {folder: string | null, works: boolean}}} System
 * @typedef {{model: string, clips: {request: Record<string, any>, seconds: number, frames: number, notes: string[]}[],
 *   passes: number, estimated_seconds: number}} Check
 *
 * A region or selection: samples from `start` up to, not including, `end`; `words` are those of a region that has its own.
 * @typedef {{start: number, end: number, words?: string}} Span
 *
 * @typedef {"make" | "vary" | "remake" | "extend" | "loop" | "edit"} Mode
 * An adapter in use; `sigma` are the noise levels at which it acts.
 * @typedef {{name: string, strength: number, on: boolean, sigma: [number, number]}} LoraUse
 * What is asked for. `count` is the page's choice until `countChosen`; `noise` is the change of a variation,
 * `regionNoise` that of regions; null means the default.
 * @typedef {{mode: Mode, prompt: string, negative: string, seconds: number, bars: number | null, bpm: number | null,
 *   count: number, countChosen: boolean, seed: number | null, noise: number, regionNoise: number, steps: number | null,
 *   sampler: string | null, guidance: number | null, apg: number | null, crossfade: number, loop: boolean,
 *   seam: number | null, before: number, after: number, promptB: string, mix: number, padding: number | null,
 *   temperature: number | null, topK: number | null, loras: LoraUse[]}} Words
 *
 * What undo walks through: the take in the editor, and what is marked on it.
 * @typedef {{take: string | null, regions: Span[], selection: Span | null}} Place
 * @typedef {{job: string, focus: number, before: string | null}} Candidates
 * Jobs in order, each of which works on the result of the one before. `job` is the one that was queued last, number `at`
 * of `bodies`, or -1; each has a key, so that it is queued once. `before` is the take that they begin with.
 * @typedef {{bodies: Record<string, any>[], keys: string[], at: number, job: string, before: string | null}} Passes
 *
 * What the server measured; null: unsure, or silence. Loudness in LUFS, true peak in dBTP, onsets in seconds.
 * @typedef {{tempo: number | null, tempo_confidence: number, key: string | null, key_confidence: number,
 *   pitch: number | null, pitch_confidence: number, loudness: number | null, true_peak: number | null,
 *   onsets: number[], sound_seconds: number}} Measure
 * The beats of a take: `first` is the sample of a first beat of a bar, `beats` are those of a bar.
 * @typedef {{bpm: number, first: number, beats: number}} Grid
 * How takes play. `brace` is what a loop repeats, or null: the selection, or the whole take; `preview` is the take
 * that plays in place of the one in the editor; `before` numbers the regions of an edit that play as they were.
 * @typedef {{before: number[], playing: boolean, loop: boolean, brace: Span | null, side: "a" | "b", matched: boolean, volume: number,
 *   speed: 1 | 0.5, metronome: boolean, difference: boolean, preview: string | null}} Listening
 * A blind test: what X is, which of the three plays, and for each answer whether it was right.
 * @typedef {{x: "a" | "b", hearing: "a" | "b" | "x", answers: boolean[]}} Blind
 *
 * What an edit kept of its source, in samples of the take: `new` was made again, `kept` of `outside` are the same.
 * @typedef {{parent: string | null, samples: number, new: [number, number][], offset: number, outside: number,
 *   kept: number, identical: boolean, jumps: {at: number, decibels: number}[], reason: string}} Comparison
 * How the editor shows a take: without `zoom` all of it; `width` in pixels; positions are typed in `unit`.
 * @typedef {{zoom: {start: number, perPixel: number} | null, width: number, layers: "wave" | "spectrogram" | "both",
 *   unit: "seconds" | "bars" | "samples"}} ViewState
 *
 * What the library shows: pages of ids, those that are loaded; `chosen` are the takes that are marked; `anchor` is the
 * last of them, from which Shift chooses. `changes` counts what happened to takes.
 * @typedef {{query: string, order: "newest" | "oldest" | "title" | "longest" | "shortest", deleted: boolean,
 *   count: number | null, pages: Record<number, string[]>, chosen: ReadonlySet<string>, anchor: string | null,
 *   changes: number}} Library
 * A change of several takes at once.
 * @typedef {{takes: string[], favorite?: boolean, deleted?: boolean, add_tag?: string, remove_tag?: string}} TakesChange
 * Every file that the server keeps, by folder, and where models came from.
 * @typedef {{folders: {name: string, path: string | null, bytes: number, files: number}[],
 *   downloads: {model: string, host: string, repository: string, files: number, bytes: number, time: number | null}[]}} Kept
 * A short notice, and what takes back what it tells.
 * @typedef {{text: string, undo: TakesChange | null}} Toast
 *
 * What keys do in the editor; its parts say how, in `controls.commands`.
 * @typedef {"zoomIn" | "zoomOut" | "zoomAll" | "view" | "snap" | "regionStart" | "regionEnd" | "regionDelete"} Command
 *
 * @typedef {{
 *   connection: "connecting" | "open" | "lost" | "login",
 *   screen: "studio" | "library" | "batch" | "models",
 *   drawer: "words" | "history" | "menu" | null,
 *   system: System | null,
 *   models: Model[],
 *   model: string,
 *   jobs: Record<string, Job>,
 *   takes: Record<string, Take>,
 *   words: Words,
 *   undo: import("./state/history.js").Tree<Place>,
 *   compare: string | null,
 *   candidates: Candidates | null,
 *   passes: Passes[],
 *   listening: Listening,
 *   measures: Record<string, Measure | null>,
 *   grids: Record<string, Partial<Grid>>,
 *   blind: Blind | null,
 *   view: ViewState,
 *   comparisons: Record<string, Comparison>,
 *   check: Check | null,
 *   refusal: {message: string, hint: string} | null,
 *   reading: Reading | null,
 *   prompts: Prompts | null,
 *   loras: Lora[],
 *   library: Library,
 *   toast: Toast | null,
 *   problem: {message: string, hint: string} | null,
 *   settings: import("./state/storage.js").Settings,
 * }} State
 */
export {};

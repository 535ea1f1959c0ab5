"use strict";
// Blind trials. In a report, a choice tells which sound was which; in a survey, answers are saved as a JSON file.
const survey = document.querySelector("[data-survey]");
const trials = [...document.querySelectorAll("[data-trial]")];
const answers = new Map();

for (const trial of trials) {
  const sounds = [...trial.querySelectorAll("audio")];
  for (const sound of sounds) {
    sound.volume = Number(sound.dataset.gain);
    sound.addEventListener("play", () => {
      for (const other of document.querySelectorAll("audio")) if (other !== sound) other.pause();
    });
  }
  const buttons = [...trial.querySelectorAll("button[data-choice]")];
  for (const button of buttons) button.addEventListener("click", () => choose(trial, buttons, button));
  for (const mark of trial.querySelectorAll("input[type=range]")) {
    const show = () => (mark.nextElementSibling.textContent = mark.value);
    mark.addEventListener("input", () => {
      mark.dataset.given = "yes";
      show();
      rate(trial);
    });
    show();
  }
}
update();

function choose(trial, buttons, button) {
  if (trial.dataset.key && answers.has(trial.dataset.trial)) return; // which is which is known by now
  const choice = Number(button.dataset.choice);
  for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
  answers.set(trial.dataset.trial, { trial: trial.dataset.trial, choice });
  if (trial.dataset.key) reveal(trial, choice);
  update();
}

function rate(trial) {
  const marks = [...trial.querySelectorAll("input[type=range]")];
  if (marks.every((mark) => mark.dataset.given))
    answers.set(trial.dataset.trial, { trial: trial.dataset.trial, marks: marks.map((mark) => Number(mark.value)) });
  update();
}

function names(trial) {
  const bytes = Uint8Array.from(atob(trial.dataset.key), (letter) => letter.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}

function reveal(trial, choice) {
  const [first, second] = names(trial);
  const chosen = choice ? `You chose ${names(trial)[choice - 1]}. ` : "";
  trial.querySelector(".answer").textContent = `${chosen}1 was ${first}, 2 was ${second}.`;
  for (const button of trial.querySelectorAll("button[data-choice]"))
    if (button.getAttribute("aria-pressed") !== "true") button.disabled = true;
}

function update() {
  const status = document.querySelector(".tally");
  if (!status) return;
  if (survey) {
    status.textContent = `${answers.size} of ${trials.length} answered`;
    document.querySelector("#save").disabled = !answers.size;
    return;
  }
  const counts = new Map();
  for (const trial of trials) {
    const answer = answers.get(trial.dataset.trial);
    if (!answer) continue;
    const name = answer.choice ? names(trial)[answer.choice - 1] : "no difference";
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  status.textContent = [...counts].map(([name, count]) => `${name}: ${count}`).join(", ");
}

document.querySelector("#save")?.addEventListener("click", () => {
  const listener = document.querySelector("#listener").value.trim();
  const data = { survey: survey.dataset.survey, listener, answers: [...answers.values()] };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(data, null, 1)], { type: "application/json" }));
  link.download = `answers-${listener.replace(/[^A-Za-z0-9]+/g, "-") || "listener"}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
});

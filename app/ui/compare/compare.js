// Arrow keys vote while the vote buttons are on screen and no field has the focus. They never change a vote.
if (!window.hyVoteKeys) {
  window.hyVoteKeys = true;
  const buttons = { ArrowLeft: "hy-vote-a", ArrowRight: "hy-vote-b", ArrowUp: "hy-vote-tie", ArrowDown: "hy-vote-bad" };
  const typing = "input, textarea, select, summary, [contenteditable], [role=listbox], [role=slider], [role=radiogroup]";
  document.addEventListener("keydown", (event) => {
    const id = buttons[event.key];
    if (!id || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || event.repeat) return;
    if (event.target.closest && event.target.closest(typing)) return;
    if (document.querySelector("[data-hy-voted]")) return;
    const button = document.getElementById(id);
    if (!button || button.disabled || !button.offsetParent) return;
    const place = button.getBoundingClientRect();
    if (place.top < 0 || place.bottom > window.innerHeight) return;
    event.preventDefault();
    button.click();
  });
}

// Poll every few seconds, while the page is visible, for changes that another tab made to the conversation.
if (!window.hyLook) {
  const look = () => {
    if (document.hidden || !location.search.includes("conversation=")) return;
    document.getElementById("hy-look")?.click();
  };
  window.hyLook = setInterval(look, 2500);
  document.addEventListener("visibilitychange", look);
}

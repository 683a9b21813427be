"""What is said in the sample meeting, by which flite voice, after which pause."""

TITLE = "Planning the office move"

# (voice, seconds of pause before the turn, text)
TURNS = (
    (
        "rms",
        0.4,
        "Good morning everyone. Today we need to talk about the move. What is the latest news on the building?",
    ),
    (
        "slt",
        0.6,
        "We can have the keys at the end of the month. The walls have to be painted and the old carpet has to go.",
    ),
    ("awb", 0.5, "How long will it take to get the rooms ready?"),
    ("slt", 0.4, "It should take about three weeks."),
    ("rms", 0.7, "That is very good news. How much money is left in the budget?"),
    ("slt", 0.5, "We have enough money for the furniture, but nothing more than that."),
    (
        "awb",
        0.6,
        "The next question is the network. The telephone company wants to visit the building before they give us a date.",
    ),
    ("slt", 0.5, "They said the new line could be ready in the middle of June."),
    ("rms", 0.4, "That is too late for us. We cannot open the office without a telephone line."),
    ("slt", 0.8, "Could we use a temporary connection for the first few days?"),
    (
        "awb",
        0.5,
        "Yes, that would work for a short time. It costs a little more, but nobody would have to stop working.",
    ),
    ("rms", 0.6, "That sounds reasonable to me. When do we start to pack?"),
    (
        "slt",
        0.4,
        "The moving company will bring the boxes on Wednesday. They will carry everything on Friday and Saturday.",
    ),
    ("awb", 0.7, "People keep asking me about the coffee machine."),
    ("rms", 0.4, "The coffee machine is coming with us."),
    ("awb", 0.3, "That may be the most important decision of the day."),
    ("rms", 0.6, "Are there any other questions?"),
    ("slt", 0.5, "I have no more questions. I think we have covered everything."),
    ("rms", 0.5, "Then we will meet again next week at the same time."),
)

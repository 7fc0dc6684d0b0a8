"""The course machinery: checks, hints, claims, quizzes and progress for learners; build and run for instructors."""
